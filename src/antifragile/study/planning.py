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
from antifragile.fleet import FleetPlan, Workload, plan_fleet, plan_plain, workload
from antifragile.store import Environment, Store
from antifragile.study.machine import current_environment
from antifragile.study.options import RunOptions
from antifragile.study.parts import Part, part_of, study_parts
from antifragile.study.task import PlannedTrial, Task
from antifragile.study.trainers import EngineName, FleetTrainer, PlainTrainer, Trainer, kernel_name

THREADS_PER_TASK = 1  # parallelism is in the workers, so that their number changes no bit
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
    """

    architecture: str
    modes: tuple[str, ...]
    trials: int
    meta_loops: int
    plan: FleetPlan

    @property
    def seconds(self) -> float:
        """Predicted time of one worker for what is left."""
        return self.meta_loops * self.plan.predicted_seconds_per_meta_loop


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


def environment_of(options: RunOptions, part: Part) -> Environment:
    """What the records of a part, run with these options, will say about their origin."""
    return current_environment(
        kernel=kernel_name(
            part.engine, options.device, options.precision, perturbed=bool(part.perturbations)
        ),
        device=options.device,
        threads=THREADS_PER_TASK,
        precision=options.precision,
    )


def fleet_plan(
    spec: StudySpec, architecture: Architecture, data: Dataset, options: RunOptions, part: Part
) -> FleetPlan:
    """The plan for one part of one architecture of a study."""
    work = Workload(
        architecture=architecture,
        n_inputs=data.n_inputs,
        n_classes=data.n_classes,
        n_train=data.train.n_samples,
        n_validation=data.validation.n_samples,
        replicas=len(part.modes) * spec.trials,
        modes=len(part.modes) if spec.pairing is Pairing.PAIRED else 1,
        batch_size=spec.training.batch_size,
        mode_order=part.modes,
        perturbations=part.perturbations,
    )
    if part.engine is EngineName.PLAIN and options.engine is not EngineName.PLAIN:
        return plan_plain(work, threads=THREADS_PER_TASK, device=options.device, reason=part.reason)
    return plan_fleet(
        work,
        threads=THREADS_PER_TASK,
        device=options.device,
        precision=options.precision,
        memory_budget_bytes=int(options.memory_budget_gib * 2**30 / options.most_workers),
    )


def single_trainer(spec: TrialSpec, data: Dataset, options: RunOptions) -> Trainer:
    """Who trains one trial outside any study."""
    if part_of(spec.perturbations, spec.mode, options).engine is EngineName.PLAIN:
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
    trials of one part of one architecture together, in as many tasks as there are workers, or
    more where memory demands it.
    """
    missing = missing_trials(store, spec)
    plain = PlainTrainer(threads=THREADS_PER_TASK, harm=spec.evaluate.harm)

    def task(part: Part, trials: Sequence[PlannedTrial], trainer: Trainer) -> Task:
        return Task(
            trials=tuple(trials),
            trainer=trainer,
            store_url=store.worker_url,
            files=files,
            data_dir=options.data_dir,
            data_sha256=data.sha256,
            environment=environment_of(options, part),
            keep=spec.keep,
            robustness=spec.evaluate.robustness,
            checkpoint_every_s=options.checkpoint_every_s,
        )

    if options.engine is EngineName.PLAIN:
        (part,) = study_parts(spec, options)
        return [task(part, [trial], plain) for trial in missing]
    tasks = []
    for architecture, part, trials in _by_part(spec, options, missing):
        if part.engine is EngineName.PLAIN:
            tasks += [task(part, [trial], plain) for trial in trials]
            continue
        plan = fleet_plan(spec, architecture, data, options, part)
        size = _trials_per_task(spec, part, plan, options.most_workers)
        fleet = FleetTrainer(plan=plan, harm=spec.evaluate.harm)
        tasks += [
            task(part, trials[start : start + size], fleet) for start in range(0, len(trials), size)
        ]
    return tasks


def plan_study(
    spec: StudySpec, data: Dataset, options: RunOptions, missing: Sequence[PlannedTrial]
) -> StudyPlan:
    """How each part of each architecture with trials left will be trained."""
    rows = tuple(
        PlanRow(
            architecture=architecture.name,
            modes=part.modes,
            trials=len(trials),
            meta_loops=sum(
                spec.meta_loops - min(trial.recorded_meta_loops, spec.meta_loops)
                for trial in trials
            ),
            plan=fleet_plan(spec, architecture, data, options, part),
        )
        for architecture, part, trials in _by_part(spec, options, missing)
    )
    workers = options.workers
    if workers is None:
        quick = sum(row.seconds for row in rows) < _WORTH_WORKERS_S
        workers = 1 if quick and options.engine is EngineName.FLEET else options.most_workers
    return StudyPlan(spec=spec, rows=rows, workers=workers)


def _trials_per_task(spec: StudySpec, part: Part, plan: FleetPlan, workers: int) -> int:
    """Trials of all modes together, a task per worker; modes apart only to keep workers busy.

    The torch kernel pads to the same shapes however few trials it has, so it gets whole blocks.
    """
    modes, busy = len(part.modes), len(spec.architectures) >= workers
    size = -(-spec.trials * modes // workers)
    if spec.trials >= workers or busy:
        size = -(-spec.trials // workers) * modes
    if plan.kernel == "torch":
        block = plan.group_size * plan.groups_at_once
        size = -(-size // block) * block
    return max(1, min(plan.fleet_size, size))


def _by_part(
    spec: StudySpec, options: RunOptions, trials: Sequence[PlannedTrial]
) -> Iterator[tuple[Architecture, Part, list[PlannedTrial]]]:
    parts = study_parts(spec, options)
    for architecture, of_architecture in _by_architecture(spec, trials):
        for part in parts:
            own = [trial for trial in of_architecture if trial.spec.mode in part.modes]
            if own:
                yield architecture, part, own


def _by_architecture(
    spec: StudySpec, trials: Sequence[PlannedTrial]
) -> Iterator[tuple[Architecture, list[PlannedTrial]]]:
    place = {architecture: i for i, architecture in enumerate(spec.architectures)}
    ordered = sorted(trials, key=lambda trial: place[trial.spec.architecture])
    for architecture, group in groupby(ordered, key=lambda trial: trial.spec.architecture):
        yield architecture, list(group)
