"""Certificates: whether each variant is a real and legal change, one process per variant.

    baseline (once)      deterministic? -> weights, outputs, noise floor
    three variants       imported by a fresh Python that cannot import us
    every variant        build, forward, backward, repeat, compare (`probe`) -> `verdict`

"Changed" is said only where nothing but the cut can explain it: same inputs, same values in every
tensor that survived, draws that do not depend on earlier draws, and a difference above rounding.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from antifragile._files import write_atomically
from antifragile.ablate.certify import probe
from antifragile.ablate.certify.measurements import BaselineMeasurement
from antifragile.ablate.certify.verdict import judge, refused
from antifragile.ablate.certify.workplace import Workplace, open_workplace
from antifragile.ablate.frameworks.registry import DEFAULT_FRAMEWORK, installed_framework
from antifragile.ablate.records import (
    AblationKind,
    Certificate,
    CertificateVerdict,
    Project,
    Variant,
)
from antifragile.ablate.sandbox.cold import import_cold
from antifragile.ablate.sandbox.server import Limits, Outcome, Server
from antifragile.errors import UsageError

COLD_IMPORTS = 3

CertificateListener = Callable[[Variant, Certificate], None]


class ModelError(UsageError):
    """The user's model cannot be measured: it fails, hangs, or is not deterministic."""


def open_server(
    *, workers: int = 1, limits: Limits | None = None, framework: str = DEFAULT_FRAMEWORK
) -> Server:
    """Start the server that runs a model's code; it gets ready while the caller goes on.

    Args:
        workers: Children that run at the same time.
        limits: Time and memory for each.
        framework: Name of the framework; KERAS_BACKEND names the back end of Keras.

    Raises:
        MissingExtraError: The framework is not installed.
    """
    found = installed_framework(framework)
    return Server(
        workers=workers,
        limits=limits,
        preload=(*found.preload, probe.__name__, import_cold.__module__),
        environment=found.environment,
        has_private_home=True,
    )


def certify(
    project: Project,
    out: Path,
    variants: Sequence[Variant],
    *,
    server: Server,
    framework: str = DEFAULT_FRAMEWORK,
    cold_imports: int = COLD_IMPORTS,
    listener: CertificateListener | None = None,
) -> tuple[Certificate, ...]:
    """Certify generated variants; writes `certificate.json` into each folder.

    Args:
        project: The project.
        out: The folder that `generate` filled: ``baseline`` and one folder per variant.
        variants: The variants that `generate` returned.
        server: Runs the models; its limits hold for each of them.
        framework: Name of the framework.
        cold_imports: Number of variants, drawn at random, that a fresh Python imports.
        listener: Called with every certificate as it is made.

    Returns:
        One certificate per variant, in their order.

    Raises:
        ModelError: The baseline cannot be measured.
        WorldError: The server died.
    """
    certificates: dict[int, Certificate] = {}
    with open_workplace(project, out, framework) as place:
        for position, certificate in _judged(place, variants, server, cold_imports):
            certificates[position] = certificate
            variant = variants[position]
            if variant.folder:
                content = json.dumps(asdict(certificate), indent=1).encode() + b"\n"
                path = out / variant.folder / "certificate.json"
                write_atomically(path, content, durable=False)
            if listener is not None:
                listener(variant, certificate)
    return tuple(certificates[position] for position in range(len(variants)))


def _judged(
    place: Workplace, variants: Sequence[Variant], server: Server, cold_imports: int
) -> Iterator[tuple[int, Certificate]]:
    """Yield certificates as they are made: refusals at once, then those by the server."""
    legal = [position for position, variant in enumerate(variants) if variant.refusal is None]
    drawn = random.Random(len(legal)).sample(legal, min(cold_imports, len(legal)))
    marked = any(variant.kind is AblationKind.DISABLE for variant in variants)
    baseline_run = server.run([place.baseline_job(keep_gradients=marked)])
    cold_run = server.run([place.cold_import_job(variants[position]) for position in drawn])
    if wanted := place.wanted_modules(variants):
        server.preload(*wanted)  # while those run
    baseline = _found(baseline_run)
    for position in sorted(set(range(len(variants))) - set(legal)):
        yield position, refused(variants[position])
    is_random = baseline.is_random
    jobs = [place.variant_job(variants[position], is_random=is_random) for position in legal]
    held: dict[int, Certificate] = {}
    for number, outcome in server.run(jobs):
        position = legal[number]
        certificate = judge(place.project, variants[position], baseline, outcome)
        if position in drawn:
            held[position] = certificate
        else:
            yield position, certificate
    for number, outcome in cold_run:
        yield drawn[number], _with_cold_import(held[drawn[number]], outcome)


def _found(baseline_run: Iterator[tuple[int, Outcome]]) -> BaselineMeasurement:
    [(_, outcome)] = baseline_run
    if outcome.failure is not None:
        raise ModelError(f"the unchanged model cannot be measured: {outcome.reason}.")
    found: BaselineMeasurement = outcome.value
    return found


def _with_cold_import(certificate: Certificate, outcome: Outcome) -> Certificate:
    found = outcome.reason or "a fresh Python imports it without us"
    certificate = replace(certificate, checks=certificate.checks | {"cold import": found})
    if outcome.failure is None:
        return certificate
    return replace(certificate, verdict=CertificateVerdict.FAILED, reason=outcome.reason)
