"""From a user's files to certified variants on disk: discover -> plan -> generate -> certify.

    project -> (child) first look, trace -> plans -> folders -> (children) certificates
                                                        ^- next kinds of what was refused

The index `ablations.json` in the output folder says what lies there; a later run replaces what it
lists, and nothing else (`generation.replace`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antifragile._files import sha256_of, write_atomically
from antifragile._shown import in_short
from antifragile.ablate.certify.certificate import CertificateListener, ModelError, certify
from antifragile.ablate.discovery.jobs import look, trace_job
from antifragile.ablate.frameworks.registry import DEFAULT_FRAMEWORK
from antifragile.ablate.frameworks.subject import ModelCode
from antifragile.ablate.generation.digests import digests_of_all
from antifragile.ablate.generation.emit import BASELINE, files_of, needed_files
from antifragile.ablate.generation.generate import VariantWriter
from antifragile.ablate.generation.index import INDEX
from antifragile.ablate.generation.names import names_in
from antifragile.ablate.generation.replace import check_names_free, new_set
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import (
    AblationKind,
    AblationPlan,
    Certificate,
    Component,
    Project,
    Variant,
)
from antifragile.ablate.sandbox.copies import Copies, data_hashes, open_copies
from antifragile.ablate.sandbox.job import Job, Outcome
from antifragile.ablate.sandbox.preload import third_party_imports
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.trace.records import Trace

if TYPE_CHECKING:  # a table is made on demand
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, repr=False)
class Ablations:
    """Components, variants and certificates of one run; the last two correspond one to one.

    `written` holds the hashes of all files of each folder, by which a later run tells what it may
    replace from what somebody edited; `data` those of the small files beside the model, by which a
    study tells whether what the model reads is as it was. `command` is the user's that trains it,
    if they gave one, `started_in` the folder where it is started.
    """

    project: Project
    components: tuple[Component, ...]
    variants: tuple[Variant, ...]
    certificates: tuple[Certificate, ...]
    framework: str
    versions: str = ""
    written: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    started_in: str = ""

    def __repr__(self) -> str:
        n_certified = sum(certificate.verdict.is_certified for certificate in self.certificates)
        holds = f"{len(self.variants)} variants, {n_certified} certified"
        return in_short(self, holds, "a row for each")

    def frame(self) -> pd.DataFrame:
        """The variants with their certificates, one a row."""
        import pandas as pd  # takes a second; most uses need no table

        rows = [
            {
                "component": variant.component,
                "kind": variant.kind.value,
                "status": certificate.verdict.value,
                "reason": certificate.reason,
                "diff_lines": variant.diff_lines,
                "parameter_delta": certificate.parameter_delta,
                "folder": variant.folder,
            }
            for variant, certificate in zip(self.variants, self.certificates, strict=True)
        ]
        return pd.DataFrame(rows)


def find_components(
    project: Project,
    *,
    server: Server,
    framework: str = DEFAULT_FRAMEWORK,
    templates: Path | None = None,
    groups: Mapping[str, str] | None = None,
    inputs_as_components: bool = False,
) -> AblationPlan:
    """Run the model once, list its components and plan every edit of each.

    Args:
        project: The project.
        server: Runs the model's code.
        framework: Name of the framework.
        templates: A folder of further edit templates.
        groups: Named groups of input features.
        inputs_as_components: List the model's inputs too; naming groups of them asks for it.

    Raises:
        ModelError: The model does not run; the sentence says where and why.
    """
    trace = run_traced(project, server=server, framework=framework)
    return plan_ablations(
        project,
        trace,
        templates=templates,
        groups=groups,
        inputs_as_components=inputs_as_components,
    )


def run_traced(project: Project, *, server: Server, framework: str = DEFAULT_FRAMEWORK) -> Trace:
    """Run the model twice in child processes: a first look for its faults, then with a trace.

    Raises:
        ModelError: The model does not run; the sentence says where and why.
    """
    with open_copies(Path(project.root), needed_files(project)) as copies, server.stopping_jobs():
        server.note(copies.note)
        packages = third_party_imports(project, files_of(project))
        server.import_packages(packages, Path(project.root))
        trace = _looked_at_and_traced(copies, project, server, framework)
    for remark in trace.remarks:
        logger.warning("%s.", remark)
    return trace


def _looked_at_and_traced(
    copies: Copies, project: Project, server: Server, framework: str
) -> Trace:
    """Run the model and trace it; again without packages where these may be others than its own."""
    jobs = [_code_in(copies, project, framework).job(look), _trace_in(copies, project, framework)]
    looking, tracing = [server.run([job]) for job in jobs]  # both start at once
    try:
        has_other_path: bool = _value(looking, "the model does not run")
        trace: Trace = _value(
            tracing,
            "the model runs, but not while it is traced, which is a failure of antifragile, not of "
            "the model",
        )
    except ModelError:
        server.stop_jobs()
        if server.give_back_packages():
            return _looked_at_and_traced(copies, project, server, framework)
        raise
    if has_other_path and server.give_back_packages():
        return _looked_at_and_traced(copies, project, server, framework)
    return trace


def _value(running: Iterator[tuple[int, Outcome]], failure: str) -> Any:
    """Return what a job answered; `failure` begins the sentence that says why it did not."""
    [(_, outcome)] = running
    if outcome.failure is not None:
        raise ModelError(f"{failure}: {outcome.reason}.")
    return outcome.value


def _code_in(copies: Copies, project: Project, framework: str) -> ModelCode:
    """The model's functions in a copy of its own."""
    code = ModelCode.in_folder(project, copies.new_place(), framework)
    return replace(code, copied_from=(str(copies.original),))


def _trace_in(copies: Copies, project: Project, framework: str) -> Job:
    """Prepare the trace of a copy."""
    code = _code_in(copies, project, framework)
    copied = asdict(replace(project, root=code.folder))
    return Job(
        target=trace_job,
        folder=code.folder,
        paths=tuple(code.paths),
        arguments={"project": copied, "framework": framework},
        script=code.script,
        copied_from=tuple(code.copied_from),
    )


def make_ablations(
    plan: AblationPlan,
    out: Path,
    *,
    server: Server,
    kinds: Sequence[AblationKind] | None = None,
    listener: CertificateListener | None = None,
    command: str = "",
) -> Ablations:
    """Write every planned variant and certify it, beside the set that is there, and replace that.

    Args:
        plan: The components and their edits.
        out: New, empty, or the folder of an earlier run. Of that what its index lists is replaced,
            whole and at once; all else in it stays.
        server: Runs the model's code.
        kinds: Kinds of ablation to make; where None is given, the default kind of each component,
            and the next ones while none is certified.
        listener: Called with each variant and its certificate.
        command: The user's command that trains the model, for a study of the variants.

    Raises:
        ModelError: The model is not deterministic.
        UsageError: `out` holds something else, or edited variants, or something of the user's that
            has a variant's name.
        StoreError: Another process makes a set there.
        WorldError: `out` cannot be written; it stays as it is.
    """
    check_names_free(out, [BASELINE, *names_in(plan).values()])
    with new_set(out) as place:
        made = _made_in(place, plan, server, kinds, listener)
        made = replace(made, command=command, started_in=str(Path.cwd()) if command else "")
        write_atomically(place / INDEX, json.dumps(asdict(made), indent=1).encode() + b"\n")
    return made


def _made_in(
    place: Path,
    plan: AblationPlan,
    server: Server,
    kinds: Sequence[AblationKind] | None,
    listener: CertificateListener | None,
) -> Ablations:
    """Write and certify the variants in a folder that holds nothing else."""
    root, installed = Path(plan.project.root), plan.project.installed
    data = data_hashes(root, needed_files(plan.project))
    data |= {file: sha256_of(root / file) for file in installed}
    writer = VariantWriter(plan, place)
    variants = list(writer.write(kinds))

    def next_kinds(certificates: Sequence[Certificate]) -> Sequence[Variant]:
        found = writer.write_next(without_certificate(certificates)) if kinds is None else ()
        variants.extend(found)
        return found

    certificates = certify(
        plan.project,
        place,
        variants,
        server=server,
        framework=plan.framework,
        listener=listener,
        further=next_kinds,
    )
    places = {component.name: number for number, component in enumerate(plan.components)}
    pairs = sorted(
        zip(variants, certificates, strict=True), key=lambda pair: places[pair[0].component]
    )
    return Ablations(
        project=plan.project,
        components=tuple(counted_once(plan.components, writer.second_names)),
        variants=tuple(variant for variant, _ in pairs),
        certificates=tuple(certificate for _, certificate in pairs),
        framework=plan.framework,
        versions=plan.versions,
        written={folder.name: digests_of_all(folder) for folder in sorted(place.iterdir())},
        data=data,
    )


def without_certificate(certificates: Sequence[Certificate]) -> set[str]:
    """Return the components of which no variant was certified."""
    certified = {item.component for item in certificates if item.verdict.is_certified}
    return {item.component for item in certificates} - certified


def counted_once(
    components: Sequence[Component], second_names: Mapping[str, str]
) -> Iterator[Component]:
    """Yield components; one that is another under a second name is left out from now on."""
    for component in components:
        if component.name in second_names:
            reason = f"the same edit as {second_names[component.name]}"
            component = replace(component, kinds=(), reason=reason, is_left_out=True)
        yield component
