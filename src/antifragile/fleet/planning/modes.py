"""Modes that the fleet cannot train, which the readable engine then trains."""

from __future__ import annotations

from antifragile.config.modes import Mode
from antifragile.config.networks import BlockNorm
from antifragile.config.perturbation import Perturbation
from antifragile.fleet.torch.updates import why_not_batched


def why_not_in_fleet(
    mode: Mode,
    perturbations: tuple[Perturbation, ...],
    block_norm: BlockNorm = BlockNorm.NONE,
) -> str | None:
    """Explain in a clause why no fleet can train a mode; None when one can.

    Args:
        mode: The mode.
        perturbations: Perturbations of its update equation; of a mode of stretches, those of the
            first.
        block_norm: Normalisation in the network's blocks.
    """
    if len({part.perturbation for part in mode.parts}) > 1:
        return f"no fleet changes its update equation from stretch to stretch, as {mode.name} does"
    if len({part.variation.learning_rate for part in mode.parts}) > 1:
        return f"no fleet changes its learning rate from stretch to stretch, as {mode.name} does"
    if recycling := [part.name for part in mode.parts if part.recycling]:
        return f"no kernel draws neurons anew between two updates, as {recycling[0]} does"
    return why_not_batched(perturbations, block_norm)
