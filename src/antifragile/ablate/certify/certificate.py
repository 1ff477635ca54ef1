"""Certificates: whether each variant is a real and legal change, one process per variant.

    baseline (once)      child: weights, outputs -> here: deterministic? noise floor
    three variants       imported by a fresh Python that cannot import us
    every variant        child: build, forward, backward, repeat (`probe`), sends arrays
                         here: compare (`measure`) -> judge (`verdict`)

"Changed" is said only where nothing but the cut can explain it: same inputs, same values in every
tensor that survived, draws that do not depend on earlier draws, and a difference above rounding.

Children run the user's code; this process never imports it. What a hostile model can still do: it
computes its own results, so it can lie about these (for instance by looking at its own source), and
it runs as the same user, so it could search the disk for files of a run in progress. What it cannot
do: change the code that judges, the baseline's results, which are read into memory before the first
variant runs, or the weights that others are run on without being noticed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from antifragile._files import write_atomically
from antifragile.ablate.certify import probe
from antifragile.ablate.certify.bench import Bench
from antifragile.ablate.certify.measure import Unmeasured, read_results
from antifragile.ablate.certify.verdict import judge, refused
from antifragile.ablate.certify.workplace import (
    Workplace,
    initial_values_of,
    open_workplace,
)
from antifragile.ablate.frameworks.registry import DEFAULT_FRAMEWORK, installed_framework
from antifragile.ablate.generation.digests import CERTIFICATE, digests_of
from antifragile.ablate.generation.emit import BASELINE
from antifragile.ablate.records import (
    AblationKind,
    Certificate,
    CertificateVerdict,
    Project,
    Variant,
)
from antifragile.ablate.sandbox.job import Limits, Outcome
from antifragile.ablate.sandbox.limits.mechanisms import Mechanisms
from antifragile.ablate.sandbox.server import Server
from antifragile.errors import UsageError

COLD_IMPORTS = 3

CertificateListener = Callable[[Variant, Certificate], None]
FurtherVariants = Callable[[Sequence[Certificate]], Sequence[Variant]]


class ModelError(UsageError):
    """The user's model cannot be measured: it fails, hangs, or is not deterministic."""


def open_server(
    *,
    workers: int = 1,
    limits: Limits | None = None,
    framework: str = DEFAULT_FRAMEWORK,
    is_certifying: bool = False,
    mechanisms: Mechanisms | None = None,
) -> Server:
    """Start the server that runs a model's code; it gets ready while the caller goes on.

    Args:
        workers: Children that run at the same time.
        limits: Time and memory for each.
        framework: Name of the framework; KERAS_BACKEND names the back end of Keras.
        is_certifying: Whether variants will be certified, so that what it takes gets ready too.
        mechanisms: Those of the kernel that may hold the model; all where None is given.

    Raises:
        MissingExtraError: The framework is not installed.
    """
    found = installed_framework(framework)
    return Server(
        workers=workers,
        limits=limits,
        preload=(*found.preload, probe.__name__),
        environment=found.environment,
        has_private_home=True,
        has_fresh_python=is_certifying,
        mechanisms=mechanisms,
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
    further: FurtherVariants | None = None,
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
        further: Called with all certificates so far; the variants that it returns are certified
            on the same baseline, and so on until it returns none.

    Returns:
        One certificate per variant, in their order; those of further variants follow.

    Raises:
        ModelError: The baseline cannot be measured.
        WorldError: The server died.
    """
    certificates: list[Certificate] = []
    baseline_files, batch = digests_of(out / BASELINE), tuple(variants)
    digests = _digests_of_folders(out, batch)
    workplace = open_workplace(project, out, framework)
    with _the_model_runs(), workplace as place, server.stopping_jobs():
        bench, cold = _open_bench(place, batch, server, cold_imports)
        while batch:
            found: dict[int, Certificate] = {}
            for position, certificate in _judged(bench, batch, cold):
                variant = batch[position]
                if variant.folder:
                    certificate = replace(
                        certificate, files=digests[variant.folder], baseline_files=baseline_files
                    )
                    content = json.dumps(asdict(certificate), indent=1).encode() + b"\n"
                    path = out / variant.folder / CERTIFICATE
                    write_atomically(path, content, durable=False)
                found[position] = certificate
                if listener is not None:
                    listener(variant, certificate)
            certificates += [found[position] for position in range(len(batch))]
            batch = () if further is None else tuple(further(certificates))
            digests, cold = _digests_of_folders(out, batch), _ColdImports()
    return tuple(certificates)


def _digests_of_folders(out: Path, variants: Sequence[Variant]) -> dict[str, dict[str, str]]:
    folders = (variant.folder for variant in variants if variant.folder)
    return {folder: digests_of(out / folder) for folder in folders}


@dataclass(frozen=True, kw_only=True)
class _ColdImports:
    """Imports of some variants by a fresh Python, under way: their positions, and their ends."""

    drawn: Sequence[int] = ()
    running: Iterator[tuple[int, Outcome]] = field(default_factory=lambda: iter(()))

    def reasons(self) -> Iterator[tuple[int, str]]:
        """Yield positions, and why the import failed, "" where it did not; waits for it."""
        for place, outcome in self.running:
            yield self.drawn[place], outcome.reason if outcome.failure else outcome.value


def _open_bench(
    place: Workplace, variants: Sequence[Variant], server: Server, cold_imports: int
) -> tuple[Bench, _ColdImports]:
    """Start the baseline's run and the cold imports, and wait for the baseline's results."""
    legal = _legal(variants)
    drawn = random.Random(len(legal)).sample(legal, min(cold_imports, len(legal)))
    marked = any(variant.kind is AblationKind.DISABLE for variant in variants)
    results = place.new_results()
    filled = dict.fromkeys(name for variant in variants for name in initial_values_of(variant))
    job = place.baseline_job(results, keep_gradients=marked, own_values=list(filled))
    baseline_run = server.run([job])
    cold = _ColdImports()
    if drawn:
        imports = [place.cold_import(variants[position]) for position in drawn]
        cold = _ColdImports(drawn=drawn, running=server.fresh_python().run(imports))
    if wanted := place.wanted_modules(variants):
        server.preload(*wanted)  # while those run
    bench = _bench(place, server, results, baseline_run, keep_gradients=marked)
    return bench, cold


def _legal(variants: Sequence[Variant]) -> list[int]:
    return [position for position, variant in enumerate(variants) if variant.refusal is None]


def _judged(
    bench: Bench, variants: Sequence[Variant], cold: _ColdImports
) -> Iterator[tuple[int, Certificate]]:
    """Yield certificates as they are made: refusals at once, then those by the server."""
    legal = _legal(variants)
    for position in sorted(set(range(len(variants))) - set(legal)):
        yield position, refused(variants[position])
    held: dict[int, Certificate] = {}
    for number, outcome in bench.measured([variants[position] for position in legal]):
        position = legal[number]
        certificate = judge(bench.place.project, variants[position], bench.baseline, outcome)
        if position in cold.drawn:
            held[position] = certificate
        else:
            yield position, certificate
    for position, reason in cold.reasons():
        yield position, _with_cold_import(held[position], reason)


def _bench(
    place: Workplace,
    server: Server,
    results: Path,
    baseline_run: Iterator[tuple[int, Outcome]],
    *,
    keep_gradients: bool,
) -> Bench:
    """Read the baseline's results, and start its control runs.

    Raises:
        Unmeasured: There are no results, or they do not repeat.
    """
    [(_, outcome)] = baseline_run
    if outcome.failure is not None:
        raise Unmeasured(outcome.reason)
    kept = read_results(results, server.limits.memory_bytes)
    return Bench.of_baseline(place, server, outcome, kept, keep_gradients=keep_gradients)


@contextmanager
def _the_model_runs() -> Iterator[None]:
    """Say of the unchanged model, which all variants are compared with, that it does not."""
    try:
        yield
    except Unmeasured as error:
        raise ModelError(f"the unchanged model cannot be measured: {error}.") from error


def _with_cold_import(certificate: Certificate, line: str) -> Certificate:
    reason = f"a fresh Python cannot import it: {line}" if line else ""
    found = reason or "a fresh Python imports it without us"
    certificate = replace(certificate, checks=certificate.checks | {"cold import": found})
    if not reason:
        return certificate
    return replace(certificate, verdict=CertificateVerdict.FAILED, reason=reason)
