"""How a study would run: who trains what, for how long, in how much memory.

Times rest on rates measured on one machine; no result depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from antifragile.config.architecture import Architecture
from antifragile.config.modes import get_mode
from antifragile.config.study import StudySpec
from antifragile.data.splits import Dataset
from antifragile.fleet.planning.cost import seconds_of_robustness, seconds_per_count
from antifragile.fleet.planning.plan import FleetPlan
from antifragile.study.options import RunOptions
from antifragile.study.parts import Part
from antifragile.study.planning import by_part, fleet_plan, part_workload
from antifragile.study.task import PlannedTrial
from antifragile.study.trainers import EngineName

_WORTH_WORKERS_S = 20.0  # starting worker processes takes some seconds


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """How some modes of one architecture of a study will be trained.

    Args:
        architecture: Canonical name.
        modes: Which of the study's modes, in its order.
        trials: Trials left of them.
        meta_loops: Meta-loops left, over all its trials.
        plan: The fleet's choice.
        evaluation_s: Predicted time of what the study measures besides: harm, robustness.
    """

    architecture: str
    modes: tuple[str, ...]
    trials: int
    meta_loops: int
    plan: FleetPlan
    evaluation_s: float = 0.0

    @property
    def seconds(self) -> float:
        """Predicted time of one worker for what is left."""
        return self.meta_loops * self.plan.predicted_seconds_per_meta_loop + self.evaluation_s


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """How a study will be trained: a row per architecture and part with trials left."""

    spec: StudySpec
    rows: tuple[PlanRow, ...]
    workers: int

    @property
    def seconds(self) -> float:
        """Predicted wall time, the workers evenly busy."""
        return sum(row.seconds for row in self.rows) / self.workers

    @property
    def memory_bytes(self) -> int:
        """Predicted peak of data and buffers of all workers together."""
        largest = sorted((row.plan.memory_bytes for row in self.rows), reverse=True)
        return sum(largest[: self.workers])


def plan_study(
    spec: StudySpec, data: Dataset, options: RunOptions, missing: Sequence[PlannedTrial]
) -> StudyPlan:
    """How each part of each architecture with trials left will be trained."""
    rows = tuple(
        _row(spec, architecture, data, options, part, trials)
        for architecture, part, trials in by_part(spec, options, missing)
    )
    workers = options.workers
    if workers is None:
        quick = sum(row.seconds for row in rows) < _WORTH_WORKERS_S
        workers = 1 if quick and options.engine is EngineName.FLEET else options.most_workers
    return StudyPlan(spec=spec, rows=rows, workers=workers)


def _row(
    spec: StudySpec,
    architecture: Architecture,
    data: Dataset,
    options: RunOptions,
    part: Part,
    trials: Sequence[PlannedTrial],
) -> PlanRow:
    plan = fleet_plan(spec, architecture, data, options, part)
    work, evaluation_s = part_workload(spec, architecture, data, part), 0.0
    if spec.evaluate.harm:
        counts = sum(_ablations_left(trial) for trial in trials)
        evaluation_s += counts * seconds_per_count(work, plan.kernel, work.n_validation)
    if spec.evaluate.robustness:
        evaluation_s += len(trials) * seconds_of_robustness(work, data.test.n_samples)
    return PlanRow(
        architecture=architecture.name,
        modes=part.modes,
        trials=len(trials),
        meta_loops=sum(_meta_loops_left(trial) for trial in trials),
        plan=plan,
        evaluation_s=evaluation_s,
    )


def _meta_loops_left(trial: PlannedTrial) -> int:
    return max(0, trial.spec.meta_loops - trial.recorded_meta_loops)


def _ablations_left(trial: PlannedTrial) -> int:
    """Meta-loop 1 trains the fresh network un-ablated."""
    if get_mode(trial.spec.mode).ablation is None:
        return 0
    return _meta_loops_left(trial) - (trial.recorded_meta_loops == 0)
