"""Pairwise: each component ablated alone, and every two together.

An interaction is c(ij) - c(i) - c(j): above zero the two are redundant (one stands in for the
other), below zero they need each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite
from typing import ClassVar

import pandas as pd

from antifragile.ablate.designs.base import (
    BASELINE,
    CONTRIBUTION,
    INTERACTION,
    JOINT,
    PAIR,
    Configuration,
    DesignTraits,
    Request,
    Values,
    differences,
    frame,
    known_values,
    missing_runs,
)
from antifragile.analysis.inference.paired import PairedVerdict


@dataclass(frozen=True, kw_only=True)
class Pairwise:
    """Each component ablated alone, and every two together."""

    traits: ClassVar[DesignTraits] = DesignTraits(most_components=24, row_components=2)

    components: Sequence[str]
    seeds: Sequence[int]

    def wanted(self, values: Values) -> list[Request]:
        """1 + k + k (k - 1) / 2 configurations."""
        configurations = [BASELINE, *self._singles.values(), *self._pairs.values()]
        return missing_runs(configurations, self.seeds, values)

    def contrasts(self, values: Values) -> pd.DataFrame:
        """Contributions alone and joint, and interactions."""
        rows = differences(CONTRIBUTION, self._singles, BASELINE, self.seeds, values)
        rows += differences(JOINT, self._pairs, BASELINE, self.seeds, values)
        for name, pair in self._pairs.items():
            first, second = (frozenset([c]) for c in pair)
            needed = (first, second, pair, BASELINE)
            rows += [
                (INTERACTION, name, seed, value[0] + value[1] - value[2] - value[3])
                for seed in self.seeds
                if (value := known_values(needed, seed, values)) is not None
            ]
        return frame(rows)

    @property
    def _singles(self) -> dict[str, Configuration]:
        return {c: frozenset([c]) for c in self.components}

    @property
    def _pairs(self) -> dict[str, Configuration]:
        return {PAIR.join(pair): frozenset(pair) for pair in combinations(self.components, 2)}

    def notes(self, values: Values, table: pd.DataFrame) -> tuple[str, ...]:
        """The meaning of an interaction, and pairs that are redundant."""
        return (
            "Interaction: joint contribution minus both single ones; above zero the two are "
            "redundant, below zero they need each other.",
            *redundant_pairs(table),
        )


def redundant_pairs(table: pd.DataFrame) -> list[str]:
    """Sentences about pairs of which each alone shows nothing and both together a lot.

    Args:
        table: The judged table of a pairwise study.
    """
    rows = table.set_index(["question", "target"])
    verdicts, costs = rows["verdict"].to_dict(), rows["difference"].to_dict()
    found = []
    for pair in map(str, table.loc[table["question"] == INTERACTION, "target"]):
        first, second = pair.split(PAIR)
        both = {verdicts.get(key) for key in ((INTERACTION, pair), (JOINT, pair))}
        alone = {verdicts.get((CONTRIBUTION, one)) for one in (first, second)}
        if both == {PairedVerdict.POSITIVE} and PairedVerdict.POSITIVE not in alone:
            cost = costs[JOINT, pair]
            together = f"cost {cost:.3g}" if isfinite(cost) else "let training diverge"
            found.append(
                f"Redundant: {first} alone shows nothing, {second} alone shows nothing, both "
                f"together {together}; each stands in for the other."
            )
    return found
