"""The verbs ``discover`` and ``generate`` as functions: a model's components, and its variants.

    plan = antifragile.ablate.discover(command="python train.py --seed {seed}", spec="study.toml")
    made = antifragile.ablate.generate("variants", spec="study.toml", kinds=["identity"])
    plan.frame(), made.frame()

`find_planned` and `make_planned` do the same for options that the command line has read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from antifragile.ablate.certify.certificate import CertificateListener
from antifragile.ablate.frameworks.registry import framework_of
from antifragile.ablate.generation.replace import check_is_ours
from antifragile.ablate.options import ModelOptions, Said, SandboxOptions, taken, with_options
from antifragile.ablate.pipeline import Ablations, find_components, make_ablations
from antifragile.ablate.records import AblationPlan, Project
from antifragile.ablate.request import ModelRequest
from antifragile.ablate.sandbox.server import Server
from antifragile.study.machine import usable_cores

logger = logging.getLogger(__name__)


@with_options(ModelOptions, SandboxOptions)
def discover(**options: Any) -> AblationPlan:
    """Find the components of a model: where they are, whether they ran, how they can be cut.

    Args:
        options: Fields of `ModelOptions` and `SandboxOptions`.

    Raises:
        UsageError: An option is unknown, or the command cannot be watched.
        ModelError: The model does not run; the sentence says where and why.
    """
    model, sandbox = taken(options, ModelOptions, SandboxOptions)
    return find_planned(model, sandbox, said=logger.warning)


@with_options(ModelOptions, SandboxOptions)
def generate(
    out: str | Path,
    *,
    kinds: Sequence[str] | str | None = None,
    workers: int | None = None,
    listener: CertificateListener | None = None,
    **options: Any,
) -> Ablations:
    """Write one variant of the source per component and kind, and certify each.

    Args:
        out: Folder for the variants; new, empty or of an earlier call.
        kinds: Kinds of ablation; None for what fits each component.
        workers: Variants certified at a time; None for one per core.
        listener: Called with each variant and its certificate.
        options: Fields of `ModelOptions` and `SandboxOptions`.

    Raises:
        UsageError: As `discover`; or `out` holds something else, or variants edited by hand.
        ModelError: The model does not run, or is not deterministic.
    """
    model, sandbox = taken(options, ModelOptions, SandboxOptions)
    return make_planned(
        Path(out),
        model,
        sandbox,
        kinds=kinds,
        workers=workers,
        listener=listener,
        said=logger.warning,
    )


def find_planned(model: ModelOptions, sandbox: SandboxOptions, *, said: Said) -> AblationPlan:
    """Find the components of a model.

    Args:
        model: The model.
        sandbox: The processes that run it.
        said: Told what a user must know beside the result.
    """
    with model.request(sandbox.limits, said=said) as request:
        project = request.project()
        framework = sandbox.framework or framework_of(project)
        with sandbox.server(1, framework) as server, _notes_of(server, said):
            return _find(project, request, server, framework)


def make_planned(
    out: Path,
    model: ModelOptions,
    sandbox: SandboxOptions,
    *,
    kinds: Sequence[str] | str | None,
    workers: int | None,
    listener: CertificateListener | None,
    said: Said,
) -> Ablations:
    """Write and certify the variants of a model; arguments as `generate` and `find_planned`."""
    check_is_ours(out)
    with model.request(sandbox.limits, said=said, kinds=kinds, out=out) as request:
        project = request.project()
        framework = sandbox.framework or framework_of(project)
        with (
            sandbox.server(workers or usable_cores(), framework, is_certifying=True) as server,
            _notes_of(server, said),
        ):
            return make_ablations(
                _find(project, request, server, framework),
                out,
                server=server,
                kinds=request.kinds,
                listener=listener,
                command=request.command,
            )


def _find(project: Project, request: ModelRequest, server: Server, framework: str) -> AblationPlan:
    return find_components(
        project,
        server=server,
        framework=framework,
        templates=request.templates,
        groups=request.groups,
        inputs_as_components=request.inputs_as_components,
    )


@contextmanager
def _notes_of(server: Server, said: Said) -> Iterator[None]:
    """Say at the end what the server noted about the model's runs, also where these failed."""
    try:
        yield
    finally:
        for sentence in server.notes:
            said(f"note: {sentence}")
