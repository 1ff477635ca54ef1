"""Is each variant a real and legal change? One process per variant, one certificate each.

    baseline (once)      deterministic? -> weights, outputs, noise floor
    three variants       imported by a fresh Python that cannot import us
    every variant        build, forward, backward, repeat, compare (`probe`) -> `verdict`

"Changed" is said only where nothing but the cut can explain it: same inputs, same values in every
tensor that survived, draws that do not depend on earlier draws, and a difference above rounding.
"""

from __future__ import annotations

import importlib.util
import json
import random
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from antifragile._files import write_atomically
from antifragile._optional import require
from antifragile.ablate.certify.verdict import judge
from antifragile.ablate.records import (
    AblationKind,
    Certificate,
    CertificateVerdict,
    Project,
    Variant,
)
from antifragile.ablate.sandbox.server import Job, Limits, Outcome, Server
from antifragile.ablate.source.project import module_name
from antifragile.errors import UsageError

PRELOAD = {
    "torch": ("torch", "numpy.random", "antifragile.ablate.frameworks.torch.models"),
    "keras": ("torch", "numpy.random", "keras", "antifragile.ablate.frameworks.keras.models"),
}
SHARED = ("antifragile.ablate.certify.probe", "antifragile.ablate.sandbox.cold")
QUIET_AND_SINGLE = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}
# Torch wants it to tell shapes without values. It costs 1 s where it is imported, and where that is
# the server, 15 ms in every child: worth it for two that ask.
FOR_SHAPES = ("torch._dynamo",)
COLD_IMPORTS = 3
_US = "antifragile"
_META = '.to("meta")'
_SIMPLE = re.compile(r"ShapeOnly\((\w+\.)*(Linear|Conv[123]d)\(")  # see `meta_shapes`

Listener = Callable[[Variant, Certificate], None]


class ModelError(UsageError):
    """The user's model cannot be measured: it fails, hangs, or is not deterministic."""


@dataclass(frozen=True, kw_only=True)
class _Workplace:
    """Where copies of the folders lie while they are measured."""

    project: Project
    out: Path
    scratch: Path
    framework: str
    hidden: tuple[str, ...]

    @property
    def results(self) -> str:
        return str(self.scratch / "baseline.arrays")

    def copy(self, folder: str) -> Path:
        """A copy that others' code may spoil."""
        place = self.scratch / "folders" / folder
        if not place.exists():
            shutil.copytree(self.out / folder, place)
        return place

    def measure(self, function: str, folder: str, **arguments: Any) -> Job:
        """A job of `probe`."""
        place = self.copy(folder)
        return Job(
            target=f"antifragile.ablate.certify.probe:{function}",
            folder=str(place),
            paths=self.paths(place),
            arguments={
                "folder": str(place),
                "entries": entries_of(self.project),
                "framework": self.framework,
                "results": self.results,
                "hidden": list(self.hidden),
                **arguments,
            },
        )

    def import_cold(self, variant: Variant) -> Job:
        """A job that imports a variant's files in a fresh Python."""
        place, project = self.copy(variant.folder), self.project
        entries = (project.build, project.inputs, project.step)
        files = [*variant.edited, *(entry.file for entry in entries if entry is not None)]
        return Job(
            target="antifragile.ablate.sandbox.cold:import_cold",
            folder=str(place),
            arguments={
                "paths": list(self.paths(place)),
                "names": list(dict.fromkeys(module_name(project, file) for file in files)),
                "hidden": list(self.hidden),
            },
        )

    def asks_for_shapes(self, variant: Variant) -> bool:
        """Whether a variant runs layers on torch's device without values, not just a simple one."""
        if variant.substitute is None:
            return False
        texts = [(self.out / variant.folder / file).read_text() for file in variant.edited]
        return any(_META in text and not _SIMPLE.search(text) for text in texts)

    def paths(self, place: Path) -> tuple[str, ...]:
        """Import folders, laid out below a copy as below the root."""
        return tuple(str((place / path).resolve()) for path in self.project.search_paths)


def open_server(
    *, workers: int = 1, limits: Limits | None = None, framework: str = "torch"
) -> Server:
    """Start the server that runs a model's code; it gets ready while the caller goes on.

    Args:
        workers: Children that run at the same time.
        limits: Time and memory for each.
        framework: "torch" or "keras" (whose back end KERAS_BACKEND names).

    Raises:
        MissingExtraError: The framework is not installed.
    """
    if framework == "keras" and importlib.util.find_spec("keras") is None:
        require("keras", extra="keras", purpose="ablating a Keras model")
    return Server(
        workers=workers,
        limits=limits,
        preload=(*PRELOAD[framework], *SHARED),
        environment=QUIET_AND_SINGLE,
    )


def entries_of(project: Project) -> dict[str, list[str] | None]:
    """The project's functions as plain data: file, function, module name."""
    roles = {"build": project.build, "inputs": project.inputs, "step": project.step}
    return {
        role: None
        if entry is None
        else [entry.file, entry.function, module_name(project, entry.file)]
        for role, entry in roles.items()
    }


def certify(
    project: Project,
    out: Path,
    variants: Sequence[Variant],
    *,
    server: Server,
    framework: str = "torch",
    cold_imports: int = COLD_IMPORTS,
    listener: Listener | None = None,
) -> tuple[Certificate, ...]:
    """Certify generated variants; writes `certificate.json` into each folder.

    Args:
        project: The project.
        out: The folder that `generate` filled: ``baseline`` and one folder per variant.
        variants: What `generate` returned.
        server: Runs the models; its limits hold for each of them.
        framework: Name of the adapter.
        cold_imports: How many variants, drawn at random, a fresh Python imports.
        listener: Called with every certificate as it is made.

    Returns:
        One certificate per variant, in their order.

    Raises:
        ModelError: The baseline cannot be measured.
        WorldError: The server died.
    """
    certificates: dict[int, Certificate] = {}
    with _workplace(project, out, framework) as place:
        for position, certificate in _judged(place, variants, server, cold_imports):
            certificates[position] = certificate
            variant = variants[position]
            if variant.folder:
                _write(out / variant.folder / "certificate.json", certificate)
            if listener is not None:
                listener(variant, certificate)
    return tuple(certificates[position] for position in range(len(variants)))


def _judged(
    place: _Workplace, variants: Sequence[Variant], server: Server, cold_imports: int
) -> Iterator[tuple[int, Certificate]]:
    """Certificates as they are made: refusals at once, then by the server."""
    legal = [position for position, variant in enumerate(variants) if variant.refusal is None]
    drawn = random.Random(len(legal)).sample(legal, min(cold_imports, len(legal)))
    baseline_run = server.run([_baseline_job(place, variants)])
    cold_run = server.run([place.import_cold(variants[position]) for position in drawn])
    if sum(map(place.asks_for_shapes, variants)) > 1:
        server.preload(*FOR_SHAPES)  # while those run
    baseline = _found(baseline_run)
    for position in sorted(set(range(len(variants))) - set(legal)):
        yield position, _refused(variants[position])
    is_random = baseline["is_random"]
    jobs = [_variant_job(place, variants[position], is_random) for position in legal]
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


def _baseline_job(place: _Workplace, variants: Sequence[Variant]) -> Job:
    marked = any(variant.kind is AblationKind.DISABLE for variant in variants)
    return place.measure("measure_baseline", "baseline", keep_gradients=marked)


def _found(baseline_run: Iterator[tuple[int, Outcome]]) -> dict[str, Any]:
    [(_, outcome)] = baseline_run
    if outcome.failure is not None:
        raise ModelError(f"the unchanged model cannot be measured: {outcome.reason}.")
    found: dict[str, Any] = outcome.value
    return found


def _variant_job(place: _Workplace, variant: Variant, is_random: bool) -> Job:
    frozen = variant.kind is AblationKind.REINIT_FROZEN
    kept_apart = list(variant.cut_parameters) if frozen else []
    return place.measure(
        "measure_variant", variant.folder, is_random=is_random, kept_apart=kept_apart
    )


def _with_cold_import(certificate: Certificate, outcome: Outcome) -> Certificate:
    if outcome.failure is None:
        checks = certificate.checks | {"cold import": "a fresh Python imports it without us"}
        return replace(certificate, checks=checks)
    checks = certificate.checks | {"cold import": outcome.reason}
    return replace(
        certificate, verdict=CertificateVerdict.FAILED, reason=outcome.reason, checks=checks
    )


def _refused(variant: Variant) -> Certificate:
    assert variant.refusal is not None
    return Certificate(
        component=variant.component,
        kind=variant.kind,
        verdict=CertificateVerdict.REFUSED,
        reason=variant.refusal,
    )


def _write(path: Path, certificate: Certificate) -> None:
    content = json.dumps(asdict(certificate), indent=1).encode() + b"\n"
    write_atomically(path, content, durable=False)


@contextmanager
def _workplace(project: Project, out: Path, framework: str) -> Iterator[_Workplace]:
    with tempfile.TemporaryDirectory(prefix="antifragile-certify-") as scratch:
        files = {*project.sources, *project.companions, project.build.file, project.inputs.file}
        texts = [(out / "baseline" / file) for file in files if file.endswith(".py")]
        uses_us = any(_US in path.read_text(errors="replace") for path in texts if path.is_file())
        yield _Workplace(
            project=project,
            out=out,
            scratch=Path(scratch).resolve(),
            framework=framework,
            hidden=() if uses_us else (_US,),
        )
