"""Declared families of tests: p values corrected within one, and the smallest p it can give.

Holm's first threshold is alpha over the number of tests; where the smallest p that the trials can
give exceeds it nothing can be found, and the family says so and how many trials would be needed.
Arms that are equal bit for bit have no p value and are not part of the family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from antifragile.analysis.inference import permutation

HOLM = {"p_holm": ("p", "holm"), "equivalence_holm": ("equivalence_p", "holm")}
ALPHA = 0.05  # level of corrected verdicts where no other one is asked for


@dataclass(frozen=True, kw_only=True)
class Family:
    """One declared family of tests and the limits of what it can show.

    Args:
        name: Name of the family, as in ``"all"`` or ``"contribution"``.
        n_tests: Tests in it; identical arms are none.
        n_identical: Paired arms equal to their control bit for bit.
        first_threshold: alpha / (tests x looks), what Holm asks of the smallest p.
        smallest_p: The smallest p that any of its tests can give.
        trials_needed: Trials, of the unit below, from which a p can go down to that threshold.
        unit: Unit that is counted: ``"trials per mode"``, or ``"seeds"``.
    """

    name: str
    n_tests: int
    n_identical: int
    first_threshold: float
    smallest_p: float
    trials_needed: int
    unit: str = "trials per mode"

    @property
    def can_show(self) -> bool:
        """Tell whether the smallest attainable p is small enough."""
        return self.smallest_p <= self.first_threshold

    @property
    def words(self) -> str:
        """One sentence for beside the table."""
        identical = f", {self.n_identical} identical" if self.n_identical else ""
        if not self.n_tests:
            return f"family {self.name}: nothing to test{identical}."
        bound = f"smallest attainable p {self.smallest_p:.2g}"
        if self.can_show:
            verdict = f"{bound}, below the first threshold {self.first_threshold:.2g}"
        else:
            verdict = (
                f"{bound} exceeds the first threshold {self.first_threshold:.2g}: no corrected "
                f"difference can be found; {self.trials_needed} {self.unit} would be needed"
            )
        tests = f"{self.n_tests} test{'s' * (self.n_tests > 1)}"
        return f"family {self.name}: {tests}{identical}; {verdict}."


def family_of(
    rows: pd.DataFrame,
    name: object,
    *,
    alpha: float,
    paired: bool,
    looks: int = 1,
    unit: str = "trials per mode",
) -> Family:
    """Describe the family of tests that some rows hold.

    Args:
        rows: Columns p (NaN where there is no test) and smallest_p.
        name: Name of the family.
        alpha: Level of the corrected verdicts.
        paired: Whether the tests are of pairs.
        looks: Number of times an adaptive study may look at its data.
        unit: Unit that is counted.
    """
    n_tests = int(rows["p"].notna().sum())
    threshold = first_threshold(alpha, n_tests, looks)
    return Family(
        name=str(name),
        n_tests=n_tests,
        n_identical=len(rows) - n_tests,
        first_threshold=threshold,
        smallest_p=float(rows["smallest_p"].min()),
        trials_needed=permutation.trials_needed(threshold, paired=paired),
        unit=unit,
    )


def first_threshold(alpha: float, n_tests: int, looks: int) -> float:
    """Level that Holm asks of the smallest p of so many tests."""
    return alpha / max(n_tests, 1) / looks


def correct_families(
    table: pd.DataFrame,
    by: str,
    corrections: Mapping[str, tuple[str, str]] = HOLM,
    *,
    alpha: float,
    paired: bool,
    looks: int = 1,
    unit: str = "trials per mode",
) -> tuple[Family, ...]:
    """Correct p values within each family, and describe the families.

    Args:
        table: Columns of p values and smallest_p; the corrected ones are added to it.
        by: Column that names the family.
        corrections: Corrected column to its p column and method.
        alpha: As in `family_of`, and so are the others.
        paired: Whether the tests are of pairs.
        looks: A p seen at one of several looks counts that many times.
        unit: Unit that is counted.
    """
    table[list(corrections)] = np.nan
    families = []
    for name, rows in table.groupby(by, sort=False):
        for target, (source, method) in corrections.items():
            p = (rows[source] * looks).clip(upper=1)
            table.loc[rows.index, target] = corrected(p, method=method)
        families.append(family_of(rows, name, alpha=alpha, paired=paired, looks=looks, unit=unit))
    return tuple(families)


def corrected(p: pd.Series, *, method: str = "holm") -> pd.Series:
    """P values corrected for their number; NaN is no test, and stays.

    Args:
        p: The p values of one family.
        method: ``"holm"`` or ``"fdr_bh"`` (Benjamini and Hochberg).
    """
    found = p.to_numpy(dtype=float, copy=True)
    is_test = ~np.isnan(found)
    correct = {"holm": _holm, "fdr_bh": false_discovery_control}[method]
    if is_test.any():
        found[is_test] = correct(found[is_test])
    return pd.Series(found, index=p.index)


def _holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction; `statsmodels` has it too, and collects garbage at each call.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    found = np.empty_like(p)
    found[order] = np.minimum(steps, 1)
    return found
