"""The promotion rule as a pure function: a candidate replaces the LKG only if it is better.

Source: PSA paper, section II.D, step 4, and the equations of Fig. 4.
"""

from __future__ import annotations

from collections.abc import Callable
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


def next_lkg(
    lkg: LastKnownGood[Score] | None,
    score: Score,
    meta_loop: int,
    copy_weights: Callable[[], Weights],
) -> LastKnownGood[Score]:
    """Promote the candidate only if it is strictly better; the first one always is.

    Args:
        lkg: The LKG so far; None before the first.
        score: The candidate's.
        meta_loop: The candidate's.
        copy_weights: Copies the candidate's weights; called only if it is promoted.
    """
    if lkg is None or score > lkg.bounty:
        return LastKnownGood(weights=copy_weights(), bounty=score, meta_loop=meta_loop)
    return lkg
