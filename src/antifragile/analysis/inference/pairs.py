"""Many pairs of samples compared at once: effects, and permutation tests batched by design.

Every comparison of the project is made of pairs: a mode and its control, the best mode and
another one, a cell of two studies, a contrast and zero. They are tested here, and only here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from antifragile.analysis.inference import permutation
from antifragile.analysis.inference.effects import Effect, paired_effect, two_sample_effect
from antifragile.analysis.inference.permutation import Design

IDENTICAL = "identical"


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Two samples to compare; row i of both is one trial when they are paired.

    Args:
        label: Names of the two, such as (architecture, mode).
        values: (n,) float64, percent or another unit.
        control: (m,) float64, in the same unit.
        paired: Whether the samples are paired.
    """

    label: tuple[str, str]
    values: np.ndarray
    control: np.ndarray
    paired: bool

    @property
    def is_identical(self) -> bool:
        """Tell whether paired samples are equal bit for bit."""
        return self.paired and np.array_equal(self.values, self.control)

    @property
    def design(self) -> Design:
        """The rearrangements that test it."""
        return Design(n=len(self.values), n_control=len(self.control), paired=self.paired)


def match_trials(
    label: tuple[str, str], values: pd.Series, control: pd.Series, *, paired: bool
) -> Pair:
    """Make a pair of two series whose index is the trial; paired ones keep their common trials."""
    if paired and not values.index.equals(control.index):
        shared = values.index.intersection(control.index)
        values, control = values.loc[shared], control.loc[shared]
    return Pair(
        label=label,
        values=values.to_numpy(dtype=float),
        control=control.to_numpy(dtype=float),
        paired=paired,
    )


def values_by_trial(trials: pd.DataFrame, column: str) -> dict[str, dict[str, pd.Series]]:
    """The values of a column by architecture and mode, in order of appearance, without NaN.

    Returns:
        Series whose index is the trial.
    """
    known = trials.dropna(subset=[column]).set_index("trial")
    found = dict[str, dict[str, pd.Series]]()
    for (architecture, mode), values in known.groupby(["architecture", "mode"], sort=False)[column]:
        found.setdefault(str(architecture), {})[str(mode)] = values
    return found


def grouped_values(
    rows: pd.DataFrame, keys: tuple[str, str], column: str
) -> dict[tuple[str, str], np.ndarray]:
    """The values of a column by two keys, float64, in order of appearance."""
    return {
        (str(one), str(other)): values.to_numpy(dtype=float)
        for (one, other), values in rows.groupby(list(keys), sort=False)[column]
    }


def compare_pairs(
    pairs: Sequence[Pair],
    labels: tuple[str, str],
    *,
    margin: float,
    confidence: float,
    least_trials: int = 1,
) -> pd.DataFrame:
    """Measure and test every pair.

    Args:
        pairs: Pairs with at least one value on both sides.
        labels: Columns for the two names of a pair.
        margin: Margin of the equivalence tests, in units of the values.
        confidence: Coverage of the intervals.
        least_trials: Trials that both sides of a tested pair have.

    Returns:
        A row per pair: its names, n, n_control, test (in words), the fields of `Effect`, smallest_p
        and p.
        Identical pairs have a difference of zero, no test and NaN for the rest.
    """
    rows = [
        dict(zip(labels, pair.label, strict=True)) | _measure(pair, margin, confidence)
        for pair in pairs
    ]
    names = [*labels, "n", "n_control", "test", *asdict(Effect(difference=0.0)), "smallest_p"]
    table = pd.DataFrame(rows, columns=names)
    table["p"] = permutation_p(pairs, least_trials=least_trials)
    return table


def permutation_p(pairs: Sequence[Pair], *, least_trials: int = 1) -> np.ndarray:
    """Two-sided p of equal means, all pairs of one design at once.

    Args:
        pairs: The pairs to test.
        least_trials: Trials that both sides of a tested pair have.

    Returns:
        (C,) p values; NaN for pairs that are identical or smaller.
    """
    p = np.full(len(pairs), np.nan)
    designs: dict[Design, list[int]] = {}
    for index, pair in enumerate(pairs):
        design = pair.design
        if min(design.n, design.n_control) >= least_trials and not pair.is_identical:
            designs.setdefault(design, []).append(index)
    for design, indices in designs.items():
        values = np.stack([pairs[index].values for index in indices])  # (C, n)
        control = np.stack([pairs[index].control for index in indices])  # (C, m)
        if design.paired:
            p[indices] = permutation.paired_p(values - control, design=design)
        else:
            p[indices] = permutation.two_sample_p(values, control, design=design)
    return p


def _measure(pair: Pair, margin: float, confidence: float) -> dict[str, object]:
    sizes = {"n": len(pair.values), "n_control": len(pair.control)}
    if pair.is_identical:
        return {**sizes, "test": IDENTICAL, **asdict(Effect(difference=0.0)), "smallest_p": np.nan}
    measure = paired_effect if pair.paired else two_sample_effect
    effect = measure(pair.values, pair.control, margin=margin, confidence=confidence)
    design = pair.design
    return {**sizes, "test": design.words, **asdict(effect), "smallest_p": design.smallest_p}
