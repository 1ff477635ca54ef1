"""The update equations of a study: which modes share one, and who trains them.

The compiled kernel knows the plain equation only. Modes that perturb it are trained by the batched
torch kernel, each replica with its own noise, or, where that kernel cannot either, by the readable
engine one trial at a time. Which equation a mode has follows from the spec alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from antifragile.config.perturbation import Perturbation
from antifragile.config.study import StudySpec
from antifragile.errors import UsageError
from antifragile.fleet.torch.updates import why_not_batched
from antifragile.study.options import RunOptions
from antifragile.study.trainers import EngineName


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


def study_equations(spec: StudySpec, options: RunOptions) -> tuple[UpdateEquation, ...]:
    """Group the modes of a study by update equation, in the order in which it names them.

    With the readable engine, which trains one trial at a time, all modes are one group.

    Raises:
        UsageError: The readable engine has to take modes over and cannot compute as asked.
    """
    if options.engine is EngineName.PLAIN:
        return (_as_asked(spec.modes),)
    modes: dict[tuple[Perturbation, ...], list[str]] = {}
    for mode in spec.modes:
        modes.setdefault(spec.training.perturbations_in(mode), []).append(mode)
    return tuple(_equation(names, common, options) for common, names in modes.items())


def trial_equation(
    perturbations: Sequence[Perturbation], mode: str, options: RunOptions
) -> UpdateEquation:
    """The update equation of one trial outside any study.

    Raises:
        UsageError: As `study_equations`.
    """
    if options.engine is EngineName.PLAIN:
        return _as_asked((mode,))
    return _equation([mode], tuple(perturbations), options)


def _as_asked(modes: tuple[str, ...]) -> UpdateEquation:
    return UpdateEquation(modes=modes, engine=EngineName.PLAIN, reason="as asked")


def _equation(
    modes: list[str], perturbations: tuple[Perturbation, ...], options: RunOptions
) -> UpdateEquation:
    obstacle = why_not_batched(perturbations)
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
