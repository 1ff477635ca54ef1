"""Jobs that measure the variants, each in a copy of the project with the variant's files in it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from antifragile.ablate.certify import probe
from antifragile.ablate.frameworks.registry import framework_named
from antifragile.ablate.frameworks.subject import ModelCode
from antifragile.ablate.generation.emit import BASELINE, needed_files
from antifragile.ablate.records import AblationKind, Project, Variant
from antifragile.ablate.sandbox.answers import MalformedAnswer, open_left, take_file
from antifragile.ablate.sandbox.cold import import_variant
from antifragile.ablate.sandbox.copies import Copies, open_copies
from antifragile.ablate.sandbox.job import Job
from antifragile.ablate.sandbox.limits.trees import scratch_folder
from antifragile.ablate.source.project import module_name
from antifragile.ablate.source.text import decoded

_US = "antifragile"


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """A scratch folder with copies of variants, which the code of others may spoil.

    Args:
        project: The project.
        out: The generated variants.
        scratch: The scratch folder, in which children leave their results.
        copies: Copies of the project's files.
        framework: Name of the framework.
        hidden: Packages that variants must not need.
    """

    project: Project
    out: Path
    scratch: Path
    copies: Copies
    framework: str
    hidden: tuple[str, ...]

    def baseline_job(
        self, results: Path, *, keep_gradients: bool, own_values: Sequence[str]
    ) -> Job:
        """Prepare the run of the unchanged model, which alone may write the weights."""
        return self._code(BASELINE, results.parent, self.weights.parent).job(
            probe.run_baseline,
            weights_file=str(self.weights),
            results=str(results),
            keep_gradients=keep_gradients,
            own_values=own_values,
        )

    def controls_job(
        self, results: Path, weights: Path, *, is_random: bool, keep_gradients: bool
    ) -> Job:
        """Prepare the runs of the unchanged model that show what rounding does to it."""
        return self._code(BASELINE, results.parent).job(
            probe.run_controls,
            weights_file=str(weights),
            results=str(results),
            is_random=is_random,
            keep_gradients=keep_gradients,
        )

    def variant_job(
        self,
        variant: Variant,
        results: Path,
        *,
        is_random: bool,
        keep_gradients: bool,
        other_inputs: str,
    ) -> Job:
        """Prepare the run of a variant on the baseline's weights."""
        return self._job_of(
            variant,
            probe.run_variant,
            results,
            is_random=is_random,
            keep_gradients=keep_gradients,
            other_inputs=other_inputs,
        )

    def shaken_job(
        self, variant: Variant, results: Path, *, is_random: bool, keep_gradients: bool
    ) -> Job:
        """Prepare runs of a variant with everything moved by its own rounding."""
        return self._job_of(
            variant,
            probe.run_shaken,
            results,
            is_random=is_random,
            keep_gradients=keep_gradients,
        )

    def draws_job(self, variant: Variant, results: Path) -> Job:
        """Prepare further runs of a variant with other draws."""
        return self._job_of(variant, probe.draw_again, results)

    def baseline_draws_job(self, results: Path, weights: Path) -> Job:
        """Prepare the same runs of the unchanged model."""
        return self._code(BASELINE, results.parent).job(
            probe.draw_again, weights_file=str(weights), results=str(results), kept_apart=[]
        )

    def _job_of(
        self, variant: Variant, target: Callable[..., Any], results: Path, **arguments: Any
    ) -> Job:
        """Prepare a call with the baseline's weights, in a copy of a variant."""
        return self._code(variant.folder, results.parent).job(
            target,
            weights_file=str(self.weights),
            results=str(results),
            kept_apart=_kept_apart(variant),
            own_values=initial_values_of(variant),
            **arguments,
        )

    def new_results(self) -> Path:
        """A path for the results of one run, in a folder of a name that no other run can know."""
        folder = self.scratch / f"results-{secrets.token_hex(16)}"
        folder.mkdir()
        return folder / "results"

    def copied_weights(self, most_bytes: int) -> Path:
        """Copy the file of weights under a name that no variant can know.

        Raises:
            FileNotFoundError: There is none.
            MalformedAnswer: It is no file, or longer than that.
        """
        copy = self.new_results()
        take_file(self.weights, copy, most_bytes, "its weights")
        return copy

    def weights_digest(self, most_bytes: int) -> str:
        """Digest of the file of weights; empty where it is gone, no file, or longer than that."""
        try:
            with open_left(self.weights, most_bytes) as file:
                return hashlib.file_digest(
                    file, lambda: hashlib.blake2b(digest_size=16)
                ).hexdigest()
        except (FileNotFoundError, MalformedAnswer):
            return ""

    def cold_import(self, variant: Variant) -> Job:
        """Prepare the import of a variant by a fresh Python."""
        code = self._code(variant.folder)
        edited = [module_name(self.project, file) for file in variant.edited]
        names = [*edited, *(name for _, _, name in code.functions.values())]
        return Job(
            target=import_variant,
            folder=code.folder,
            paths=tuple(code.paths),
            arguments={"names": list(dict.fromkeys(names)), "hidden": self.hidden},
            script=code.script,
            copied_from=tuple(code.copied_from),
        )

    def wanted_modules(self, variants: Sequence[Variant]) -> tuple[str, ...]:
        """Modules that are worth importing once for all these variants."""
        texts = [
            "\n".join(
                decoded((self.out / variant.folder / file).read_bytes()) for file in variant.edited
            )
            for variant in variants
            if variant.substitute is not None
        ]
        return framework_named(self.framework).preload_for(texts)

    @property
    def weights(self) -> Path:
        """The file of the baseline's weights, which every variant reads."""
        return self.scratch / "baseline" / "weights.safetensors"

    def _code(self, folder: str, *writable: Path) -> ModelCode:
        place = self.copies.new_place()
        code = ModelCode.in_folder(self.project, place, self.framework, self.hidden)
        sources = (str(self.copies.original), str(self.out.resolve() / folder))
        return replace(code, copied_from=sources, writable=tuple(map(str, writable)))


def _kept_apart(variant: Variant) -> list[str]:
    """The parameters that keep the values a variant gives them."""
    frozen = variant.kind is AblationKind.FREEZE
    new = () if initial_values_of(variant) else variant.own_values
    return [*new, *(variant.cut_parameters if frozen else ())]


def initial_values_of(variant: Variant) -> list[str]:
    """The baseline's parameters that are built with other values in a variant, as it says."""
    return [] if variant.parameter_delta else list(variant.own_values)


@contextmanager
def open_workplace(project: Project, out: Path, framework: str) -> Iterator[Workplace]:
    """Make a workplace; variants may use this package only where the project itself does."""
    with (
        scratch_folder("antifragile-certify-") as scratch,
        open_copies(Path(project.root), needed_files(project)) as copies,
    ):
        entries = project.entries.values()
        files = {*project.sources, *project.companions, *(entry.file for entry in entries)}
        texts = [(out / BASELINE / file) for file in files if file.endswith(".py")]
        uses_us = any(_US in path.read_text(errors="replace") for path in texts if path.is_file())
        (scratch / "baseline").mkdir()
        yield Workplace(
            project=project,
            out=out,
            scratch=scratch,
            copies=copies,
            framework=framework,
            hidden=() if uses_us else (_US,),
        )
