"""The names of the four training regimes, and the verdict on one architecture.

Three sets of rules give verdicts: `regimes.paper` (as printed), `regimes.complete` (labels every
architecture) and `posterior` (how probable each complete label is for a fresh run).

Source: PSA paper, sections II.H and III.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

TOLERANCE = 0.5  # percentage points: the paper's floor of its effective standard deviation
EPSILON = 1e-9  # percentages computed from counts differ from printed ones in the last bit


class Regime(StrEnum):
    """Regime of an architecture, by its training with and without ablation.

    UNCLASSIFIED is the printed rules' honest fifth answer, UNDECIDED the posterior's.
    """

    BENEFICIAL = "beneficial-regularization"
    OPTIMAL = "optimally-sized"
    CHAOTIC = "chaotic-optimization"
    FAILURE = "architectural-failure"
    UNCLASSIFIED = "unclassified"
    UNDECIDED = "undecided"


REGIMES = (Regime.BENEFICIAL, Regime.OPTIMAL, Regime.CHAOTIC, Regime.FAILURE)
"""The labels of the complete rules, in the paper's order."""


class RegimeRules(StrEnum):
    """The set of rules that gives the verdict."""

    PAPER = "paper"
    COMPLETE = "complete"
    POSTERIOR = "posterior"


@dataclass(frozen=True, kw_only=True)
class RegimeVerdict:
    """A regime with its reason in words and numbers.

    Args:
        regime: The label.
        reason: The reason, with the numbers that decided.
        probability: Probability of the most probable regime in a fresh run; None for rules without
            one.
        probabilities: Probability of each of the four regimes; None likewise.
        overrules: The label of the printed rules when this verdict differs from it, else None.
    """

    regime: Regime
    reason: str
    probability: float | None = None
    probabilities: Mapping[Regime, float] | None = None
    overrules: Regime | None = None
