"""From a spec and a store to the tasks that are left, each with its trainer.

What decides bits - kernel, threads per task, precision, shapes - follows from the spec and the
options alone, never from what is finished or how many workers there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from antifragile.config import Architecture, Pairing, StudySpec, TrialSpec
from antifragile.data import Dataset
from antifragile.errors import StoreError
from antifragile.fleet import FleetPlan, Workload, plan_fleet, workload
from antifragile.store import Environment, Store
from antifragile.study.machine import current_environment
from antifragile.study.options import RunOptions
from antifragile.study.task import PlannedTrial, Task
from antifragile.study.trainers import EngineName, FleetTrainer, PlainTrainer, Trainer, kernel_name

THREADS_PER_TASK = 1  # parallelism is in the workers, so that their number changes no bit
_WORTH_WORKERS_S = 20.0  # starting worker processes takes some seconds


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """How one architecture of a study will be trained.

    Args:
        architecture: Canonical name.
        trials: Trials left of it.
        meta_loops: Meta-loops left, over all its trials.
        plan: The fleet's choice.
    """

    architecture: str
    trials: int
    meta_loops: int
    plan: FleetPlan

    @property
    def seconds(self) -> float:
        """Predicted time of one worker for what is left."""
        return self.meta_loops * self.plan.predicted_seconds_per_meta_loop


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """How a study will be trained: a row per architecture with trials left, and by how many."""

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


def environment_of(options: RunOptions) -> Environment:
    """What the records of a run with these options will say about their origin."""
    assert isinstance(options.engine, EngineName)
    return current_environment(
        kernel=kernel_name(options.engine, options.device, options.precision),
        device=options.device,
        threads=THREADS_PER_TASK,
        precision=options.precision,
    )


def fleet_plan(
    spec: StudySpec, architecture: Architecture, data: Dataset, options: RunOptions
) -> FleetPlan:
    """The fleet's plan for one architecture of a study."""
    work = Workload(
        architecture=architecture,
        n_inputs=data.n_inputs,
        n_classes=data.n_classes,
        n_train=data.train.n_samples,
        n_validation=data.validation.n_samples,
        replicas=len(spec.modes) * spec.trials,
        modes=len(spec.modes) if spec.pairing is Pairing.PAIRED else 1,
        batch_size=spec.training.batch_size,
        mode_order=spec.modes,
    )
    return plan_fleet(
        work,
        threads=THREADS_PER_TASK,
        device=options.device,
        precision=options.precision,
        memory_budget_bytes=int(options.memory_budget_gib * 2**30 / options.most_workers),
    )


def single_trainer(spec: TrialSpec, data: Dataset, options: RunOptions) -> Trainer:
    """Who trains one trial outside any study."""
    if options.engine is EngineName.PLAIN:
        return PlainTrainer(threads=THREADS_PER_TASK)
    plan = plan_fleet(
        workload([spec], data),
        threads=THREADS_PER_TASK,
        device=options.device,
        precision=options.precision,
        memory_budget_bytes=int(options.memory_budget_gib * 2**30),
    )
    return FleetTrainer(plan=plan)


def missing_trials(store: Store, spec: StudySpec) -> list[PlannedTrial]:
    """The unfinished trials, in the spec's order."""
    stored = {(t.architecture, t.mode, t.trial): t for t in store.trials(spec.name)}
    planned = []
    for trial in spec.trial_specs():
        known = stored.get((trial.architecture.name, trial.mode, trial.trial))
        if known is None:
            raise StoreError(
                f"store {store} is damaged: study {spec.name!r} lacks trial {trial.trial} of "
                f"{trial.architecture} {trial.mode}."
            )
        if not known.is_finished(spec.meta_loops):
            planned.append(
                PlannedTrial(
                    trial_id=known.trial_id,
                    spec=trial,
                    recorded_meta_loops=known.recorded_meta_loops,
                )
            )
    return planned


def plan_tasks(
    spec: StudySpec, store: Store, data: Dataset, options: RunOptions, files: Path
) -> list[Task]:
    """The tasks that finish a study.

    The plain engine gets one trial a task, trial 1 of every cell first. The fleet gets the
    trials of one architecture together, in as many parts as there are workers, or more where
    memory demands it.
    """
    missing = missing_trials(store, spec)
    environment = environment_of(options)

    def task(trials: Sequence[PlannedTrial], trainer: Trainer) -> Task:
        return Task(
            trials=tuple(trials),
            trainer=trainer,
            store_url=store.worker_url,
            files=files,
            data_dir=options.data_dir,
            data_sha256=data.sha256,
            environment=environment,
            keep=spec.keep,
            robustness=spec.evaluate.robustness,
            checkpoint_every_s=options.checkpoint_every_s,
        )

    if options.engine is EngineName.PLAIN:
        return [task([trial], PlainTrainer(threads=THREADS_PER_TASK)) for trial in missing]
    tasks = []
    for architecture, trials in _by_architecture(spec, missing):
        plan = fleet_plan(spec, architecture, data, options)
        size = max(1, min(plan.fleet_size, _trials_per_task(spec, options.most_workers)))
        tasks += [
            task(trials[start : start + size], FleetTrainer(plan=plan))
            for start in range(0, len(trials), size)
        ]
    return tasks


def plan_study(
    spec: StudySpec, data: Dataset, options: RunOptions, missing: Sequence[PlannedTrial]
) -> StudyPlan:
    """How each architecture with trials left will be trained."""
    rows = tuple(
        PlanRow(
            architecture=architecture.name,
            trials=len(trials),
            meta_loops=sum(
                spec.meta_loops - min(trial.recorded_meta_loops, spec.meta_loops)
                for trial in trials
            ),
            plan=fleet_plan(spec, architecture, data, options),
        )
        for architecture, trials in _by_architecture(spec, missing)
    )
    workers = options.workers
    if workers is None:
        quick = sum(row.seconds for row in rows) < _WORTH_WORKERS_S
        workers = 1 if quick and options.engine is EngineName.FLEET else options.most_workers
    return StudyPlan(spec=spec, rows=rows, workers=workers)


def _trials_per_task(spec: StudySpec, workers: int) -> int:
    """Trials of all modes together, in a part per worker; modes apart only to keep workers busy."""
    modes, busy = len(spec.modes), len(spec.architectures) >= workers
    if spec.trials >= workers or busy:
        return -(-spec.trials // workers) * modes
    return -(-spec.trials * modes // workers)


def _by_architecture(
    spec: StudySpec, trials: Sequence[PlannedTrial]
) -> Iterator[tuple[Architecture, list[PlannedTrial]]]:
    place = {architecture: i for i, architecture in enumerate(spec.architectures)}
    ordered = sorted(trials, key=lambda trial: place[trial.spec.architecture])
    for architecture, group in groupby(ordered, key=lambda trial: trial.spec.architecture):
        yield architecture, list(group)
