"""The modes of a study that are trained together: those with the same update equation.

The compiled kernel knows one equation. Modes that perturb it are a part of their own, which the
batched torch kernel trains, each replica on its own noise; what that cannot do either, the
readable engine does one trial at a time. Which part a mode belongs to follows from the spec alone.
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
class Part:
    """Modes with one update equation, and who trains them.

    Args:
        modes: In the order of the study.
        perturbations: What perturbs their update equation, in order; none for the plain one.
        engine: The fleet, or the readable engine.
        reason: Why the readable engine, where the fleet was asked for.
    """

    modes: tuple[str, ...]
    perturbations: tuple[Perturbation, ...] = ()
    engine: EngineName = EngineName.FLEET
    reason: str = ""


def study_parts(spec: StudySpec, options: RunOptions) -> tuple[Part, ...]:
    """The parts of a study, in the order in which its modes name them.

    Raises:
        UsageError: The readable engine has to take a part over and cannot compute as asked.
    """
    if options.engine is EngineName.PLAIN:
        return (Part(modes=spec.modes, engine=EngineName.PLAIN, reason="as asked"),)
    modes: dict[tuple[Perturbation, ...], list[str]] = {}
    for mode in spec.modes:
        modes.setdefault(spec.training.perturbations_in(mode), []).append(mode)
    return tuple(_part(names, common, options) for common, names in modes.items())


def part_of(perturbations: Sequence[Perturbation], mode: str, options: RunOptions) -> Part:
    """The part that one trial makes by itself."""
    if options.engine is EngineName.PLAIN:
        return Part(modes=(mode,), engine=EngineName.PLAIN, reason="as asked")
    return _part([mode], tuple(perturbations), options)


def _part(modes: list[str], perturbations: tuple[Perturbation, ...], options: RunOptions) -> Part:
    obstacle = why_not_batched(perturbations)
    if obstacle is None:
        return Part(modes=tuple(modes), perturbations=perturbations)
    if options.precision != "fp32":
        raise UsageError(
            f"{obstacle}, so the readable engine trains mode(s) {', '.join(modes)}, and it "
            f"computes in fp32; got {options.precision!r}. Use --precision fp32."
        )
    return Part(
        modes=tuple(modes), perturbations=perturbations, engine=EngineName.PLAIN, reason=obstacle
    )
