"""Runs of variants, one process each, measured against the baseline as their results arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from antifragile.ablate.certify.measure import (
    Unmeasured,
    check_repeats,
    measure_baseline,
    measure_variant,
    most_bytes_beside,
    needs_further_draws,
    read_results,
    redrawn_differences,
    rounding_noise,
)
from antifragile.ablate.certify.measurements import (
    BaselineMeasurement,
    BaselineRun,
    ModelRun,
    VariantMeasurement,
)
from antifragile.ablate.certify.responses import needs_shaking
from antifragile.ablate.certify.workplace import Workplace
from antifragile.ablate.frameworks.arrays import Leaves
from antifragile.ablate.records import Variant
from antifragile.ablate.sandbox.answers import MalformedAnswer
from antifragile.ablate.sandbox.job import Failure, Job, Outcome
from antifragile.ablate.sandbox.server import Server


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The baseline's results, held in memory, and what is needed to run variants beside them.

    Args:
        place: Copies of the folders, and the jobs.
        server: Runs the models.
        run: Facts of the unchanged model's run.
        kept: Its arrays.
        controls: Its control runs, under way: what they answer, and the file of their results.
        weights: A copy of the file of weights that the baseline left, for its further runs.
        weights_digest: Digest of that file, which variants could change.
        keep_gradients: Whether whole gradients are compared.
    """

    place: Workplace
    server: Server
    run: BaselineRun
    kept: Leaves
    controls: tuple[Iterator[tuple[int, Outcome]], Path]
    weights: Path
    weights_digest: str
    keep_gradients: bool

    @classmethod
    def of_baseline(
        cls,
        place: Workplace,
        server: Server,
        outcome: Outcome,
        kept: Leaves,
        *,
        keep_gradients: bool,
    ) -> Bench:
        """Start the control runs of a baseline that repeats.

        Raises:
            Unmeasured: It is not deterministic, answered with something else than a run, or left
                no weights.
        """
        run = outcome.value
        if not isinstance(run, BaselineRun):
            raise Unmeasured("answered with something else than the facts of its run")
        check_repeats(run)
        try:
            weights = place.copied_weights(server.limits.memory_bytes)
        except FileNotFoundError as error:
            raise Unmeasured("left no weights") from error
        except MalformedAnswer as error:
            raise Unmeasured(str(error)) from error
        path = place.new_results()
        job = place.controls_job(
            path, weights, is_random=run.is_random, keep_gradients=keep_gradients
        )
        return cls(
            place=place,
            server=server,
            run=run,
            kept=kept,
            controls=(server.run([job]), path),
            weights=weights,
            weights_digest=place.weights_digest(server.limits.memory_bytes),
            keep_gradients=keep_gradients,
        )

    @cached_property
    def baseline(self) -> BaselineMeasurement:
        """Measurement of the unchanged model; waits for its control runs.

        Raises:
            Unmeasured: They did not end well.
        """
        return measure_baseline(self.run, self.kept | self._ended(*self.controls))

    @cached_property
    def _drawn(self) -> Leaves:
        """Outputs of the unchanged model with further draws; runs it."""
        path = self.place.new_results()
        job = self.place.baseline_draws_job(path, self.weights)
        return self._ended(self.server.run([job]), path)

    def _ended(self, running: Iterator[tuple[int, Outcome]], path: Path) -> Leaves:
        """Results of a further run of the unchanged model."""
        [(_, outcome)] = running
        if outcome.failure is not None:
            raise Unmeasured(outcome.reason)
        return read_results(path, self.server.limits.memory_bytes)

    def measured(self, variants: Sequence[Variant]) -> Iterator[tuple[int, Outcome]]:
        """Run variants; yield positions and outcomes, whose values are measurements, as they end.

        Those whose differences rounding might explain are run once more, after the others, with
        everything moved by its rounding; then random ones that show no clear change, with further
        draws.

        Raises:
            Unmeasured: A further run of the unchanged model did not end well.
        """
        paths = [self.place.new_results() for _ in variants]
        jobs = [
            self.place.variant_job(
                variant,
                path,
                is_random=self.run.is_random,
                keep_gradients=self.keep_gradients,
                other_inputs=self.run.other_inputs,
            )
            for variant, path in zip(variants, paths, strict=True)
        ]
        doubtful: dict[int, Outcome] = {}
        unclear: dict[int, Outcome] = {}
        running, baseline = self.server.run(jobs), self.baseline  # they run beside its controls
        for number, outcome in running:
            found = self._with_measurement(outcome, paths[number])
            if found.failure is None and needs_shaking(baseline, found.value):
                doubtful[number] = found
            elif self._needs_draws(found):
                unclear[number] = found
            else:
                yield number, found
        for number, found in self._again(variants, doubtful, self._shaken_job, self._with_noise):
            if self._needs_draws(found):
                unclear[number] = found
            else:
                yield number, found
        if unclear:
            completed = partial(_with_draws, drawn=self._drawn)
            yield from self._again(variants, unclear, self.place.draws_job, completed)

    def _needs_draws(self, outcome: Outcome) -> bool:
        return outcome.failure is None and needs_further_draws(self.baseline, outcome.value)

    def _again(
        self,
        variants: Sequence[Variant],
        earlier: Mapping[int, Outcome],
        job_of: Callable[[Variant, Path], Job],
        completed: Callable[[VariantMeasurement, Leaves], VariantMeasurement],
    ) -> Iterator[tuple[int, Outcome]]:
        """Run some variants in another way; yield their measurements, completed by the results."""
        numbers, paths = list(earlier), [self.place.new_results() for _ in earlier]
        pairs = zip(numbers, paths, strict=True)
        jobs = [job_of(variants[number], path) for number, path in pairs]
        for place, outcome in self.server.run(jobs):
            before = earlier[numbers[place]]
            seconds = before.seconds + outcome.seconds
            if outcome.failure is not None:
                yield numbers[place], replace(outcome, seconds=seconds)
                continue
            try:
                value = completed(before.value, self._results(paths[place]))
            except Unmeasured as error:
                yield numbers[place], _unmeasured(error, seconds)
            else:
                yield numbers[place], replace(before, value=value, seconds=seconds)

    def _shaken_job(self, variant: Variant, path: Path) -> Job:
        return self.place.shaken_job(
            variant,
            path,
            is_random=self.run.is_random,
            keep_gradients=self.keep_gradients,
        )

    def _with_noise(self, found: VariantMeasurement, sent: Leaves) -> VariantMeasurement:
        return replace(found, noise=rounding_noise(sent, self.run.unit))

    def _with_measurement(self, outcome: Outcome, path: Path) -> Outcome:
        """Put the measurement in the place of what the child answered."""
        if outcome.failure is not None:
            return outcome
        try:
            found = self._measurement(outcome.value, path)
        except Unmeasured as error:
            return _unmeasured(error, outcome.seconds)
        return replace(outcome, value=found)

    def _measurement(self, answer: object, path: Path) -> VariantMeasurement:
        if not isinstance(answer, ModelRun):
            raise Unmeasured("answered with something else than the facts of its run")
        return measure_variant(self.baseline, self.kept, answer, self._results(path))

    def _results(self, path: Path) -> Leaves:
        """Read a run's results, once it is clear that its weights were the baseline's."""
        sent = read_results(path, most_bytes_beside(self.kept))
        if self.place.weights_digest(self.server.limits.memory_bytes) != self.weights_digest:
            raise Unmeasured("the file of weights that all variants are run on was changed")
        return sent


def _with_draws(found: VariantMeasurement, sent: Leaves, drawn: Leaves) -> VariantMeasurement:
    return replace(found, redrawn=redrawn_differences(drawn, sent))


def _unmeasured(error: Unmeasured, seconds: float) -> Outcome:
    return Outcome(failure=Failure.REFUSED, reason=str(error), seconds=seconds)
