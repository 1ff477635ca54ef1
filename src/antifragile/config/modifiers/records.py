"""Records of what a mode's modifiers change: promotion, optimizer, neurons that are hit, damage.

Every default is the paper's choice, so a mode without modifiers is a mode of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from antifragile.config.networks import Initialiser


class PromotionRule(StrEnum):
    """Rules that say which state the next candidate is cloned from (`engine.policies`)."""

    GREEDY = "greedy"
    PATIENCE = "patience"
    ALWAYS_ACCEPT = "always-accept"
    RESTART = "restart"


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A promotion rule with its numbers.

    Args:
        rule: The rule.
        loops: Failures in a row before a step back (patience), meta-loops of a stretch (restart);
            0 for the others.
        growth: Factor of ``loops`` at every step back (patience).
    """

    rule: PromotionRule = PromotionRule.GREEDY
    loops: int = 0
    growth: float = 2.0

    def starts_afresh(self, meta_loop: int) -> bool:
        """Whether a meta-loop trains a fresh, un-ablated network: the first one always does."""
        if meta_loop == 1:
            return True
        return self.rule is PromotionRule.RESTART and (meta_loop - 1) % self.loops == 0


class OptimizerMemory(StrEnum):
    """The optimizer's moments and step count between two meta-loops.

    RESET: a fresh optimizer each time (the paper).
    PERSISTENT: they go on, whether the candidate was promoted or not.
    ZEROED: they go on, but the moments of the entries that are hit become zero.
    """

    RESET = "reset"
    PERSISTENT = "persistent"
    ZEROED = "persistent-zeroed"


class NeuronPool(StrEnum):
    """The neurons that a base mode may hit: HIDDEN ones, OUTPUT ones, or ALL.

    Of ALL, first a layer is drawn and then one of its neurons; the others are equally likely.
    """

    HIDDEN = "hidden"
    OUTPUT = "output"
    ALL = "all"


class NeuronRank(StrEnum):
    """An order of the neurons, by which those that are hit are chosen.

    Magnitude is the norm of the incoming weights; activation the mean absolute activation on the
    first training samples; gradient the norm of the incoming weights' gradient on these. DORMANT
    neurons have at most `DORMANT_SHARE` of their layer's mean activation.
    """

    LEAST_MAGNITUDE = "least-magnitude"
    MOST_MAGNITUDE = "most-magnitude"
    LEAST_ACTIVATION = "least-activation"
    MOST_ACTIVATION = "most-activation"
    LEAST_GRADIENT = "least-gradient"
    MOST_GRADIENT = "most-gradient"
    DORMANT = "dormant"


DORMANT_SHARE = 0.025
"""Source: Sokar et al. 2023, "The Dormant Neuron Phenomenon", arXiv 2302.12902."""


@dataclass(frozen=True, kw_only=True)
class TargetChoice:
    """Number of neurons that are hit, and their choice among those that the mode may hit.

    Args:
        count: Their number.
        fraction: Their share of the eligible neurons instead, at least one neuron; None for count.
        adaptive: Whether their number is a rate instead, which doubles after a success and halves
            after a failure.
        layers: Linear layers (0-based) that they are drawn from; empty for all of the mode's.
        weights: Chances of these layers, as whole numbers; empty for the mode's own chances.
        fixed: The one neuron that is always hit, as (layer, neuron).
        rank: Order in which they are chosen, instead of a random draw.
    """

    count: int = 1
    fraction: float | None = None
    adaptive: bool = False
    layers: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()
    fixed: tuple[int, int] | None = None
    rank: NeuronRank | None = None


class DamageKind(StrEnum):
    """The change of the entries that an ablation names.

    ZERO: they become zero (the paper).
    NOISE: Gaussian noise is added, of the same norm as the entries themselves.
    REINIT: incoming weights and bias become those of a fresh network; outgoing weights become
        zero where the mode zeroes them, as in arXiv 2302.12902, so that the new neuron disturbs
        nothing at first.
    SCATTERED: as many single entries, anywhere in the network, become zero instead.
    """

    ZERO = "zero"
    NOISE = "noise"
    REINIT = "reinit"
    SCATTERED = "scattered"


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Everything that the modifiers of a mode decide.

    Args:
        promotion: Which state the next candidate is cloned from.
        optimizer: The memory that the optimizer keeps between meta-loops.
        targets: The neurons that are hit.
        damage: The change of their entries.
        every: Updates between two recyclings of dormant neurons, in a mode that does so; None for
            the mode's own number.
        learning_rate: AdamW step size; None for that of the training options.
        initialisation: The law of fresh weights; None for that of the training options.
    """

    promotion: Promotion = Promotion()
    optimizer: OptimizerMemory = OptimizerMemory.RESET
    targets: TargetChoice = TargetChoice()
    damage: DamageKind = DamageKind.ZERO
    every: int | None = None
    learning_rate: float | None = None
    initialisation: Initialiser | None = None


PAPER = Variation()
"""The variation of a mode without modifiers."""
