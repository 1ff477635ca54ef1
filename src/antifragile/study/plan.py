"""The plan of a study: made once, from a spec, its options and its store, before anything runs.

It joins how every update equation is trained on every architecture (`equations`) with the trials
that the store lacks. The tasks, the executor and every display are made from it.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from antifragile.config.modes import get_mode
from antifragile.config.modifiers.records import PAPER
from antifragile.config.specs.study import StudySpec
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.errors import StoreError
from antifragile.fleet.planning.cost import seconds_of_robustness, seconds_per_count
from antifragile.store.store import Store
from antifragile.study.equations import TrainingPlan
from antifragile.study.options import RunOptions
from antifragile.study.trainers import EngineName

_WORTH_WORKERS_S = 20.0  # starting worker processes takes some seconds


@dataclass(frozen=True, kw_only=True)
class MissingTrial:
    """A trial that is not finished: its number in the store and how far its records reach."""

    trial_id: int
    spec: TrialSpec
    recorded_meta_loops: int = 0

    @property
    def meta_loops_left(self) -> int:
        """Meta-loops without a record."""
        return max(0, self.spec.meta_loops - self.recorded_meta_loops)

    @property
    def ablations_left(self) -> int:
        """Those of its meta-loops that ablate; one that trains a fresh network does not."""
        mode, done = get_mode(self.spec.mode), self.recorded_meta_loops
        if mode.variation == PAPER and not mode.stretches:  # quick, for studies of many trials
            return 0 if self.spec.ablation is None else self.meta_loops_left - (done == 0)
        turns = range(done + 1, self.spec.meta_loops + 1)
        return sum(mode.ablates(turn, self.spec.training.network) for turn in turns)


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """The trials left of one update equation on one architecture, and how they are trained.

    Args:
        training: Trainer, shapes and prediction.
        trials: Trials left, in the order of the spec.
        evaluation_s: Predicted seconds of measuring harm and robustness for them.
        whole_s: Predicted seconds of one worker for all trials from meta-loop 1 on.
    """

    training: TrainingPlan
    trials: tuple[MissingTrial, ...]
    evaluation_s: float
    whole_s: float

    @property
    def meta_loops(self) -> int:
        """Meta-loops left, over all trials."""
        return sum(trial.meta_loops_left for trial in self.trials)

    @property
    def seconds(self) -> float:
        """Predicted time of one worker for what is left."""
        return _training_s(self.training, self.trials) + self.evaluation_s


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """All that is decided about the run of a study before it begins.

    Args:
        spec: The study.
        options: The request: workers, engine, device and so on.
        data_sha256: Content of its data set.
        rows: A row per architecture and update equation, also where no trial is left.
        workers: Number of workers, chosen by the predicted time where the options name none.
    """

    spec: StudySpec
    options: RunOptions
    data_sha256: str
    rows: tuple[PlanRow, ...]
    workers: int

    @property
    def rows_left(self) -> tuple[PlanRow, ...]:
        """The rows with trials left."""
        return tuple(row for row in self.rows if row.trials)

    @property
    def seconds(self) -> float:
        """Predicted wall time of what is left, the workers evenly busy."""
        return sum(row.seconds for row in self.rows) / self.workers

    @property
    def memory_bytes(self) -> int:
        """Predicted peak of data and buffers of all workers together."""
        needed = [row.training.fleet.memory_bytes for row in self.rows_left]
        return sum(heapq.nlargest(self.workers, needed))

    def share_done(self, records: Mapping[str, int]) -> float:
        """The share of the study's predicted seconds that is recorded; exactly 1 at the end.

        Args:
            records: Recorded meta-loops by architecture.
        """
        each = len(self.spec.modes) * self.spec.trials * self.spec.meta_loops
        total = done = 0.0
        for row in self.rows:
            recorded = records.get(row.training.work.architecture.name, 0)
            total += row.whole_s
            done += row.whole_s * min(1.0, recorded / each)
        return done / total


def plan_study(
    spec: StudySpec,
    data: Dataset,
    options: RunOptions,
    trainings: Sequence[TrainingPlan],
    missing: Sequence[MissingTrial],
) -> StudyPlan:
    """Plan what is left of a study.

    Args:
        spec: The study.
        data: Its data set.
        options: The request: workers, engine, device and so on.
        trainings: As `plan_trainings` made them.
        missing: Its trials that are not finished, in the order of the spec.
    """
    left = {trial.spec: trial for trial in missing}
    rows = tuple(_row(spec, training, data, left) for training in trainings)
    workers = options.workers
    if workers is None:
        quick = sum(row.seconds for row in rows) < _WORTH_WORKERS_S
        workers = 1 if quick and options.engine is EngineName.FLEET else options.most_workers
    return StudyPlan(
        spec=spec, options=options, data_sha256=data.sha256, rows=rows, workers=workers
    )


def missing_trials(store: Store | None, spec: StudySpec) -> list[MissingTrial]:
    """The unfinished trials, in the spec's order; all of them without a store."""
    if store is None:  # the numbers are those that an empty store would give
        every = enumerate(spec.trial_specs(), start=1)
        return [MissingTrial(trial_id=number, spec=trial) for number, trial in every]
    stored = {(t.architecture, t.mode, t.trial): t for t in store.trials(spec.name)}
    missing = []
    for trial in spec.trial_specs():
        known = stored.get((trial.architecture.name, trial.mode, trial.trial))
        if known is None:
            raise StoreError(
                f"store {store} is damaged: study {spec.name!r} lacks trial {trial.trial} of "
                f"{trial.architecture} {trial.mode}; 'antifragile study check {store} --repair' "
                "plans it again."
            )
        if not known.is_finished(spec.meta_loops):
            missing.append(
                MissingTrial(
                    trial_id=known.trial_id,
                    spec=trial,
                    recorded_meta_loops=known.recorded_meta_loops,
                )
            )
    return missing


def _row(
    spec: StudySpec,
    training: TrainingPlan,
    data: Dataset,
    missing: Mapping[TrialSpec, MissingTrial],
) -> PlanRow:
    whole = [MissingTrial(trial_id=0, spec=trial) for trial in training.specs]
    left = tuple(missing[trial] for trial in training.specs if trial in missing)
    return PlanRow(
        training=training,
        trials=left,
        evaluation_s=_evaluation_s(spec, training, data, left),
        whole_s=_training_s(training, whole) + _evaluation_s(spec, training, data, whole),
    )


def _training_s(training: TrainingPlan, trials: Sequence[MissingTrial]) -> float:
    """Predicted seconds of one worker for the meta-loops left of some trials."""
    meta_loops = sum(trial.meta_loops_left for trial in trials)
    return meta_loops * training.fleet.predicted_seconds_per_meta_loop


def _evaluation_s(
    spec: StudySpec, training: TrainingPlan, data: Dataset, trials: Sequence[MissingTrial]
) -> float:
    """Predicted seconds of one worker for measuring the harm and robustness of some trials."""
    seconds, work = 0.0, training.work
    if spec.evaluate.harm:
        counts = sum(trial.ablations_left for trial in trials)
        seconds += counts * seconds_per_count(work, training.fleet.kernel, work.n_validation)
    if spec.evaluate.robustness:
        seconds += len(trials) * seconds_of_robustness(work, data.test.n_samples)
    return seconds
