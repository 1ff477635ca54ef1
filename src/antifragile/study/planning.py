"""From a spec and a store to the tasks that are left, each with its trainer.

What decides bits - kernel, threads per task, precision, shapes - follows from the spec and the
options alone, never from what is finished or how many workers there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from antifragile.config.architecture import Architecture
from antifragile.config.run import TrialSpec
from antifragile.config.seeds import Pairing
from antifragile.config.study import StudySpec
from antifragile.data.splits import Dataset
from antifragile.errors import StoreError
from antifragile.fleet.planning.plan import FleetPlan, plan_fleet, plan_plain
from antifragile.fleet.planning.workloads import Workload, workload
from antifragile.store.records import Environment
from antifragile.store.store import Store
from antifragile.study.machine import current_environment
from antifragile.study.options import RunOptions
from antifragile.study.parts import Part, part_of, study_parts
from antifragile.study.task import PlannedTrial, Task
from antifragile.study.trainers import EngineName, FleetTrainer, PlainTrainer, Trainer, kernel_name

THREADS_PER_TASK = 1  # parallelism is in the workers, so that their number changes no bit


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
    work = part_workload(spec, architecture, data, part)
    if part.engine is EngineName.PLAIN and options.engine is not EngineName.PLAIN:
        return plan_plain(work, threads=THREADS_PER_TASK, device=options.device, reason=part.reason)
    return plan_fleet(
        work,
        threads=THREADS_PER_TASK,
        device=options.device,
        precision=options.precision,
        memory_budget_bytes=int(options.memory_budget_gib * 2**30 / options.most_workers),
    )


def part_workload(
    spec: StudySpec, architecture: Architecture, data: Dataset, part: Part
) -> Workload:
    """All that one part of one architecture of a study trains, finished or not."""
    is_paired = spec.pairing is Pairing.PAIRED
    has_placebo = spec.training.decay_is_placebo and {"none", "decay"} <= set(part.modes)
    return Workload(
        architecture=architecture,
        n_inputs=data.n_inputs,
        n_classes=data.n_classes,
        n_train=data.train.n_samples,
        n_validation=data.validation.n_samples,
        replicas=len(part.modes) * spec.trials,
        modes=len(part.modes) if is_paired else 1,
        placebos=int(is_paired and has_placebo),
        batch_size=spec.training.batch_size,
        mode_order=part.modes,
        perturbations=part.perturbations,
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
    spec: StudySpec,
    missing: Sequence[PlannedTrial],
    store_url: str,
    data: Dataset,
    options: RunOptions,
    files: Path,
) -> list[Task]:
    """The tasks that finish a study, from its missing trials.

    The plain engine gets one trial a task, trial 1 of every cell first. The fleet gets the
    trials of one part of one architecture together, in as many tasks as there are workers, or
    more where memory demands it.
    """
    plain = PlainTrainer(threads=THREADS_PER_TASK, harm=spec.evaluate.harm)

    def task(part: Part, trials: Sequence[PlannedTrial], trainer: Trainer) -> Task:
        return Task(
            trials=tuple(trials),
            trainer=trainer,
            store_url=store_url,
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
    for architecture, part, trials in by_part(spec, options, missing):
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


def by_part(
    spec: StudySpec, options: RunOptions, trials: Sequence[PlannedTrial]
) -> Iterator[tuple[Architecture, Part, list[PlannedTrial]]]:
    """The trials of each part of each architecture, where there are any."""
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
