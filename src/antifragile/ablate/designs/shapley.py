"""Shapley values of components: the mean gain when a component joins, over all orders of joining.

With v(S) the metric of the model that has the components S, n of them in all:

    phi(i) = sum over S without i of |S|! (n - |S| - 1)! / n! * (v(S + i) - v(S))

They add up to v(all) - v(none) in every seed. Few components: all subsets are run and phi is
exact. Many: each seed draws its own order, followed by its reverse (antithetic), and the
marginals along them are averaged; all runs of a seed share it. The spread over seeds then holds
both the noise of training and that of the drawn orders, so the interval covers both.

Source: Castro, Gomez, Tejada, "Polynomial calculation of the Shapley value based on sampling",
Computers & Operations Research 36 (2009).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from math import comb
from typing import ClassVar

import pandas as pd

from antifragile.ablate.designs.base import (
    BASELINE,
    CONTRIBUTION,
    Configuration,
    DesignTraits,
    Request,
    Values,
    frame,
    known_values,
    missing_runs,
)
from antifragile.config.seeds import SeedTree

MOST_EXACT = 5


@dataclass(frozen=True, kw_only=True)
class Shapley:
    """Shapley values, exact up to ``MOST_EXACT`` components.

    Args:
        components: Names.
        seeds: Seeds of the runs; with sampling also of the order drawn for each.
        exact: Run all subsets; None decides by the number of components.
    """

    traits: ClassVar[DesignTraits] = DesignTraits(most_components=64, averages_runs=True)

    components: Sequence[str]
    seeds: Sequence[int]
    exact: bool | None = None

    @property
    def is_exact(self) -> bool:
        """Whether all subsets are run."""
        return len(self.components) <= MOST_EXACT if self.exact is None else self.exact

    def wanted(self, values: Values) -> list[Request]:
        """All subsets, or the prefixes of each seed's orders."""
        return [
            request
            for seed in self.seeds
            for request in missing_runs(self._configurations(seed), [seed], values)
        ]

    def contrasts(self, values: Values) -> pd.DataFrame:
        """One Shapley value per component and seed."""
        rows = []
        for seed in self.seeds:
            if known_values(self._configurations(seed), seed, values) is None:
                continue
            phi = self._exact(seed, values) if self.is_exact else self._sampled(seed, values)
            rows += [(CONTRIBUTION, c, seed, phi[c]) for c in self.components]
        return frame(rows)

    def _configurations(self, seed: int) -> list[Configuration]:
        if self.is_exact:
            return [frozenset(s) for s in _subsets(self.components)]
        steps = chain.from_iterable(self._prefixes(order) for order in self._orders(seed))
        return list(dict.fromkeys(steps))

    def _exact(self, seed: int, values: Values) -> dict[str, float]:
        n, phi = len(self.components), {}
        for component in self.components:
            others = [c for c in self.components if c != component]
            total = 0.0
            for ablated in _subsets(others):
                gain = (
                    values[frozenset(ablated), seed]
                    - values[frozenset((*ablated, component)), seed]
                )
                total += gain / (n * comb(n - 1, len(ablated)))
            phi[component] = total
        return phi

    def _sampled(self, seed: int, values: Values) -> dict[str, float]:
        orders, phi = self._orders(seed), dict.fromkeys(self.components, 0.0)
        for order in orders:
            steps = self._prefixes(order)
            for component, before, after in zip(order, steps, steps[1:], strict=False):
                phi[component] += (values[before, seed] - values[after, seed]) / len(orders)
        return phi

    def _orders(self, seed: int) -> list[tuple[str, ...]]:
        """Orders of leaving: the drawn one, then its reverse."""
        rng = SeedTree(seed).child("shapley orders").generator()
        drawn = tuple(rng.permutation(list(self.components)))
        return [drawn, drawn[::-1]]

    def _prefixes(self, order: Sequence[str]) -> list[Configuration]:
        """From the whole model to the one without any component."""
        return [BASELINE, *(frozenset(order[: i + 1]) for i in range(len(order)))]

    def notes(self, values: Values, table: pd.DataFrame) -> tuple[str, ...]:
        """Whether the values are exact or sampled."""
        if self.is_exact:
            return (f"Shapley values, exact: all {2 ** len(self.components)} subsets a seed.",)
        return (
            "Shapley values from 2 orders a seed (each drawn order and its reverse); the intervals "
            "hold the noise of the draw too.",
        )


def _subsets(components: Sequence[str]) -> Iterator[tuple[str, ...]]:
    sizes = range(len(components) + 1)
    return chain.from_iterable(combinations(components, size) for size in sizes)
