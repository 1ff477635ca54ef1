"""Copies of the variants' folders while they are measured, and the jobs that measure them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from antifragile.ablate.certify import probe
from antifragile.ablate.frameworks.registry import framework_named
from antifragile.ablate.frameworks.subject import ModelCode
from antifragile.ablate.records import AblationKind, Project, Variant
from antifragile.ablate.sandbox.cold import import_cold
from antifragile.ablate.sandbox.job import Job
from antifragile.ablate.source.project import module_name

_US = "antifragile"


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """A scratch folder with copies of variants, which the code of others may spoil.

    Args:
        project: The project.
        out: The generated variants.
        scratch: The scratch folder.
        framework: Name of the framework.
        hidden: Packages that variants must not need.
    """

    project: Project
    out: Path
    scratch: Path
    framework: str
    hidden: tuple[str, ...]

    def baseline_job(self, *, keep_gradients: bool) -> Job:
        """Prepare the measurement of the unchanged model."""
        return self._code("baseline").job(
            probe.measure_baseline, results=self._results, keep_gradients=keep_gradients
        )

    def variant_job(self, variant: Variant, *, is_random: bool) -> Job:
        """Prepare the measurement of a variant against the baseline's results."""
        frozen = variant.kind is AblationKind.REINIT_FROZEN
        return self._code(variant.folder).job(
            probe.measure_variant,
            results=self._results,
            is_random=is_random,
            kept_apart=[*variant.own_values, *(variant.cut_parameters if frozen else ())],
        )

    def cold_import_job(self, variant: Variant) -> Job:
        """Prepare the import of a variant's files in a fresh Python."""
        code = self._code(variant.folder)
        edited = [module_name(self.project, file) for file in variant.edited]
        names = [*edited, *(name for _, _, name in code.functions.values())]
        return Job(
            target=import_cold,
            folder=code.folder,
            arguments={
                "paths": list(code.paths),
                "names": list(dict.fromkeys(names)),
                "hidden": list(self.hidden),
            },
        )

    def wanted_modules(self, variants: Sequence[Variant]) -> tuple[str, ...]:
        """Modules that are worth importing once for all these variants."""
        texts = [
            "\n".join((self.out / variant.folder / file).read_text() for file in variant.edited)
            for variant in variants
            if variant.substitute is not None
        ]
        return framework_named(self.framework).preload_for(texts)

    @property
    def _results(self) -> str:
        return str(self.scratch / "baseline.safetensors")

    def _code(self, folder: str) -> ModelCode:
        place = self.scratch / "folders" / folder
        if not place.exists():
            shutil.copytree(self.out / folder, place)
        return ModelCode.in_folder(self.project, place, self.framework, self.hidden)


@contextmanager
def open_workplace(project: Project, out: Path, framework: str) -> Iterator[Workplace]:
    """Make a workplace; variants may use this package only where the project itself does."""
    with tempfile.TemporaryDirectory(prefix="antifragile-certify-") as scratch:
        files = {*project.sources, *project.companions, project.build.file, project.inputs.file}
        texts = [(out / "baseline" / file) for file in files if file.endswith(".py")]
        uses_us = any(_US in path.read_text(errors="replace") for path in texts if path.is_file())
        yield Workplace(
            project=project,
            out=out,
            scratch=Path(scratch).resolve(),
            framework=framework,
            hidden=() if uses_us else (_US,),
        )
