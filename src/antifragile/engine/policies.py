"""The promotion rule as a pure function: a candidate replaces the LKG only if it is better.

Source: PSA paper, section II.D, step 4, and the equations of Fig. 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from antifragile.model.networks import Weights

Score = TypeVar("Score", int, float)
"""Correct validation samples of a trial; more is better."""


@dataclass(frozen=True, kw_only=True)
class LastKnownGood(Generic[Score]):
    """A network state, its bounty, and the meta-loop whose candidate it was."""

    weights: Weights
    bounty: Score
    meta_loop: int


def is_better(score: Score, bounty: Score) -> bool:
    """Whether a candidate with this score replaces an LKG with this bounty: strictly better."""
    return score > bounty
