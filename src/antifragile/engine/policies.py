"""The promotion rule as a pure function: a candidate replaces the LKG only if it is better.

Source: PSA paper, section II.D, step 4, and the equations of Fig. 4.
"""

from __future__ import annotations

from dataclasses import dataclass

from antifragile.model.networks import Weights


@dataclass(frozen=True, kw_only=True)
class LastKnownGood:
    """A network state, its bounty, and the meta-loop whose candidate it was.

    A candidate is described by the same three things.
    """

    weights: Weights
    bounty: int
    meta_loop: int


def next_lkg(lkg: LastKnownGood | None, candidate: LastKnownGood) -> LastKnownGood:
    """Promote the candidate only if it is strictly better; the first one always is."""
    if lkg is None or candidate.bounty > lkg.bounty:
        return candidate
    return lkg
