"""Two-level factorial designs: every component present in half of the runs, ablated in the other.

Up to ``MOST_FULL`` components all 2^k combinations run. Beyond, a Hadamard matrix H of order m
(a power of two, m >= k; one column a component) gives m runs, and -H the mirror images: folding
over keeps main effects clear of two-factor interactions (resolution IV), which are then aliased
with one another and not reported. Main effect and interaction of one seed:

    effect(i)         mean of the runs with i minus mean of the runs without
    interaction(i,j)  minus the second difference, as in a pairwise study, averaged over the rest

Source: Box and Hunter, "The 2^(k-p) Fractional Factorial Designs", Technometrics 3 (1961).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy.linalg import hadamard

from antifragile.ablate.designs.base import (
    CONTRIBUTION,
    INTERACTION,
    PAIR,
    Configuration,
    DesignTraits,
    Request,
    Values,
    frame,
    known_values,
    missing_runs,
)

MOST_FULL = 5


def two_level_signs(k: int) -> np.ndarray:
    """(runs, k) of 1 (present) and -1 (ablated); the first row has everything present."""
    if k <= MOST_FULL:
        return np.array(list(product([1, -1], repeat=k)))
    half = hadamard(1 << (k - 1).bit_length())[:, :k]
    return np.concatenate([half, -half])


@dataclass(frozen=True, kw_only=True)
class Factorial:
    """A full or folded two-level design; every seed runs all of it."""

    traits: ClassVar[DesignTraits] = DesignTraits(most_components=64, averages_runs=True)

    components: Sequence[str]
    seeds: Sequence[int]

    @cached_property
    def signs(self) -> np.ndarray:
        """(runs, k) of 1 and -1."""
        return two_level_signs(len(self.components))

    @cached_property
    def configurations(self) -> list[Configuration]:
        """The ablated components of each run."""
        return [
            frozenset(c for c, sign in zip(self.components, row, strict=True) if sign < 0)
            for row in self.signs
        ]

    def wanted(self, values: Values) -> list[Request]:
        """Every run that is missing."""
        return missing_runs(self.configurations, self.seeds, values)

    def contrasts(self, values: Values) -> pd.DataFrame:
        """Main effects, and interactions where the design is full."""
        columns = {(CONTRIBUTION, c): self.signs[:, i] for i, c in enumerate(self.components)}
        if self._is_full:
            for (i, a), (j, b) in combinations(enumerate(self.components), 2):
                columns[INTERACTION, f"{a}{PAIR}{b}"] = -2 * self.signs[:, i] * self.signs[:, j]
        rows = []
        for seed in self.seeds:
            if (known := known_values(self.configurations, seed, values)) is None:
                continue
            for (question, target), column in columns.items():
                effect = float(np.dot(column, known)) / (len(known) / 2)
                rows.append((question, target, seed, effect))
        return frame(rows)

    @property
    def _is_full(self) -> bool:
        return bool(len(self.signs) == 2 ** len(self.components))

    def notes(self, values: Values, table: pd.DataFrame) -> tuple[str, ...]:
        """The number of runs, and effects that cannot be told apart."""
        runs = f"{len(self.signs)} runs a seed; contributions are averages over the other "
        runs += "components being there or not."
        if self._is_full:
            return (f"Full factorial, {runs}",)
        return (
            f"Fractional factorial of resolution IV, {runs} Interactions of two are not told "
            "apart; contributions are free of them, not of those of three.",
        )
