"""The update equations of a study: which modes share one, and how these are trained.

Modes whose modifiers change the learning rate or the law of fresh weights have one of their own.
The compiled kernel knows the plain equation only. Modes that perturb it are trained by the batched
torch kernel, each replica with its own noise, or, where that kernel cannot either, by the readable
engine one trial at a time; so are modes with modifiers that no fleet has (`fleet.planning.modes`).
Which equation a mode has follows from the spec alone.

How an equation is trained on an architecture - kernel, shapes, threads, precision - decides bits,
and follows from the spec and the options alone, never from what is finished or how many workers
there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from antifragile.config._checks import Faults
from antifragile.config.architecture import Architecture
from antifragile.config.modes import get_mode
from antifragile.config.perturbation import Perturbation
from antifragile.config.seeds import Pairing
from antifragile.config.specs.checks import check_neurons
from antifragile.config.specs.study import StudySpec
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.errors import UsageError
from antifragile.fleet.planning.modes import why_not_in_fleet
from antifragile.fleet.planning.plan import FleetPlan, plan_fleet, plan_plain
from antifragile.fleet.planning.workloads import Workload, workload
from antifragile.store.records import Environment
from antifragile.study.machine import current_environment
from antifragile.study.options import RunOptions
from antifragile.study.trainers import EngineName, FleetTrainer, PlainTrainer, Trainer, kernel_name

THREADS_PER_TASK = 1  # parallelism is in the workers, so that their number changes no bit


@dataclass(frozen=True, kw_only=True)
class UpdateEquation:
    """Modes that share an update equation, and the engine that trains them.

    Args:
        modes: Their names, in the order of the study.
        perturbations: Perturbations of the equation, in order; none for the plain one.
        engine: The fleet, or the readable engine.
        reason: Why the readable engine trains them.
    """

    modes: tuple[str, ...]
    perturbations: tuple[Perturbation, ...] = ()
    engine: EngineName = EngineName.FLEET
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Trainer, shapes and prediction for the modes of one update equation on one architecture.

    Args:
        equation: The modes, and the engine that trains them.
        specs: All trials that are trained, finished or not, in the order of the study.
        work: Their workload.
        fleet: Kernel and shapes, with predicted time and memory.
        trainer: Trains the trials of a task.
        environment: The origin that the records will name.
    """

    equation: UpdateEquation
    specs: tuple[TrialSpec, ...]
    work: Workload
    fleet: FleetPlan
    trainer: Trainer
    environment: Environment


def study_equations(spec: StudySpec, options: RunOptions) -> tuple[UpdateEquation, ...]:
    """Group the modes of a study by update equation, in the order in which it names them.

    With the readable engine, which trains one trial at a time, all modes are one group.

    Raises:
        UsageError: The readable engine has to take modes over and cannot compute as asked.
    """
    is_plain = options.engine is EngineName.PLAIN
    modes: dict[tuple[TrainingOptions, tuple[Perturbation, ...], str | None], list[str]] = {}
    for mode in spec.modes:
        perturbations = () if is_plain else spec.training.perturbations_in(mode)
        reason = why_not_in_fleet(get_mode(mode), perturbations, spec.training.block_norm)
        obstacle = "as asked" if is_plain else reason
        training = spec.training if is_plain else spec.training.in_mode(mode)
        modes.setdefault((training, perturbations, obstacle), []).append(mode)
    return tuple(
        _equation(names, perturbations, obstacle, options)
        for (_, perturbations, obstacle), names in modes.items()
    )


def plan_trainings(spec: StudySpec, data: Dataset, options: RunOptions) -> tuple[TrainingPlan, ...]:
    """Plan the training of every update equation of a study on every architecture.

    Raises:
        UsageError: The memory budget is too small, or nothing trains this as asked.
    """
    _check_outputs(spec.architectures, spec.modes, spec.training, data)
    equations = study_equations(spec, options)
    specs: dict[tuple[Architecture, UpdateEquation], list[TrialSpec]] = {
        (architecture, equation): []
        for architecture in spec.architectures
        for equation in equations
    }
    equation_of = {mode: equation for equation in equations for mode in equation.modes}
    for trial in spec.trial_specs():
        specs[trial.architecture, equation_of[trial.mode]].append(trial)
    workers, harm = options.most_workers, spec.evaluate.harm
    return tuple(
        _plan_training(trials, data, equation, options, workers=workers, harm=harm)
        for (_, equation), trials in specs.items()
    )


def plan_trial(spec: TrialSpec, data: Dataset, options: RunOptions) -> TrainingPlan:
    """Plan the training of one trial outside any study.

    Raises:
        UsageError: As `plan_trainings`.
    """
    _check_outputs([spec.architecture], [spec.mode], spec.training, data)
    is_plain = options.engine is EngineName.PLAIN
    mode, norm = get_mode(spec.mode), spec.training.block_norm
    reason = why_not_in_fleet(mode, spec.perturbations, norm)
    obstacle = "as asked" if is_plain else reason
    equation = _equation([spec.mode], spec.perturbations, obstacle, options)
    return _plan_training([spec], data, equation, options, workers=1, harm=False)


def _check_outputs(
    architectures: Sequence[Architecture],
    modes: Sequence[str],
    training: TrainingOptions,
    data: Dataset,
) -> None:
    """Refuse modes that name more outputs than the data set has classes."""
    faults = Faults(f"data set {data.name!r} of {data.n_classes} classes")
    check_neurons(faults, architectures, modes, training, n_classes=data.n_classes)
    faults.raise_if_any()


def _equation(
    modes: list[str],
    perturbations: tuple[Perturbation, ...],
    obstacle: str | None,
    options: RunOptions,
) -> UpdateEquation:
    if obstacle is None:
        return UpdateEquation(modes=tuple(modes), perturbations=perturbations)
    if options.precision != "fp32":
        raise UsageError(
            f"{obstacle}, so the readable engine trains mode(s) {', '.join(modes)}, and it "
            f"computes in fp32; got {options.precision!r}. Use --precision fp32."
        )
    return UpdateEquation(
        modes=tuple(modes), perturbations=perturbations, engine=EngineName.PLAIN, reason=obstacle
    )


def _environment(equation: UpdateEquation, options: RunOptions) -> Environment:
    """The origin that records of these modes, run with these options, will name."""
    return current_environment(
        kernel=kernel_name(
            equation.engine,
            options.device,
            options.precision,
            perturbed=bool(equation.perturbations),
        ),
        device=options.device,
        threads=THREADS_PER_TASK,
        precision=options.precision,
    )


def _plan_training(
    specs: Sequence[TrialSpec],
    data: Dataset,
    equation: UpdateEquation,
    options: RunOptions,
    *,
    workers: int,
    harm: bool,
) -> TrainingPlan:
    environment = _environment(equation, options)
    device, precision = environment.device, environment.precision
    work = _workload(specs, data, equation)
    trainer: Trainer
    if equation.engine is EngineName.PLAIN:
        fleet = plan_plain(work, threads=THREADS_PER_TASK, device=device, reason=equation.reason)
        trainer = PlainTrainer(threads=THREADS_PER_TASK, harm=harm)
    else:
        fleet = plan_fleet(
            work,
            threads=THREADS_PER_TASK,
            device=device,
            precision=precision,
            memory_budget_bytes=options.memory_budget_bytes(workers),
        )
        trainer = FleetTrainer(plan=fleet, harm=harm)
    return TrainingPlan(
        equation=equation,
        specs=tuple(specs),
        work=work,
        fleet=fleet,
        trainer=trainer,
        environment=environment,
    )


def _workload(specs: Sequence[TrialSpec], data: Dataset, equation: UpdateEquation) -> Workload:
    """The workload of these trials, with the modes that need not be trained beside others."""
    is_paired = specs[0].pairing is Pairing.PAIRED
    has_placebo = specs[0].options.decay_is_placebo and {"none", "decay"} <= set(equation.modes)
    return replace(workload(specs, data), placebos=int(is_paired and has_placebo))
