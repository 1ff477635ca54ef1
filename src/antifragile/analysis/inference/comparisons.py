"""Comparison of each mode with the control, and the limits that the number of trials sets.

A *family* is the set of comparisons over which error is controlled: all of a study (default), or
those of each architecture, or of each mode. Within it p values are corrected by Holm (any false
claim) and Benjamini-Hochberg (share of false claims). Arms that are paired and equal bit for bit
are "identical": no test, and not part of the family.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from antifragile.analysis.inference.families import Family, correct_families
from antifragile.analysis.inference.pairs import (
    IDENTICAL,
    Pair,
    compare_pairs,
    match_trials,
    values_by_trial,
)
from antifragile.analysis.summary import Measure, measured
from antifragile.errors import DataError, nearest

_CORRECTIONS = {
    "p_holm": ("p", "holm"),
    "p_bh": ("p", "fdr_bh"),
    "equivalence_holm": ("equivalence_p", "holm"),
}


class FamilyScope(StrEnum):
    """Comparisons that are corrected together."""

    ALL = "all"
    ARCHITECTURE = "architecture"
    MODE = "mode"


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparisons:
    """The result of `compare_with_control`.

    Args:
        table: A row per architecture and mode: architecture, mode, control, n, n_control, test,
            difference, low, high (percentage points), size, size_low, size_high (standard
            deviations), p, smallest_p, p_holm, p_bh, equivalence_p, equivalence_holm, verdict
            (identical; constant: one value in all trials of both; higher, lower: by Holm;
            equivalent: by Holm; open), family.
        families: The tests of each family and the smallest p they can give.
        alpha: Level of the verdicts.
        margin: Margin of equivalence, percentage points.
    """

    table: pd.DataFrame
    families: tuple[Family, ...]
    alpha: float
    margin: float


def compare_with_control(
    trials: pd.DataFrame,
    *,
    paired: bool,
    control: str = "none",
    measure: Measure = Measure.PEAK,
    family: FamilyScope = FamilyScope.ALL,
    alpha: float = 0.05,
    margin: float = 0.5,
) -> Comparisons:
    """Compare every mode of every architecture with its control.

    Args:
        trials: One row per trial.
        paired: Whether trials of one number share their randomness (`Source.paired`).
        control: The mode compared with; architectures without it are left out.
        measure: The accuracy that is compared.
        family: Comparisons over which p values are corrected.
        alpha: Level of the verdicts.
        margin: Differences smaller than this are equivalence, percentage points.

    Raises:
        DataError: No trial of the control, or the trials lack the measure.
    """
    trials = measured(trials, measure)
    if len(trials) and control not in set(trials["mode"]):
        raise DataError(f"no trial of the control {control!r}; {nearest(control, trials['mode'])}")
    pairs = _pairs(trials, control, measure, paired)
    labels = ("architecture", "mode")
    table = compare_pairs(pairs, labels, margin=margin, confidence=1 - alpha)
    table.insert(2, "control", control)
    table["family"] = "all" if family is FamilyScope.ALL else table[family.value]
    families = correct_families(table, "family", _CORRECTIONS, alpha=alpha, paired=paired)
    table["verdict"] = [_verdict(row, alpha) for _, row in table.iterrows()]
    return Comparisons(table=table, families=families, alpha=alpha, margin=margin)


def are_identical(trials: pd.DataFrame, mode: str, other: str, measure: Measure) -> bool:
    """Tell whether two modes share trials and are equal in all of them."""
    wide = trials.pivot_table(
        index=["architecture", "trial"], columns="mode", values=measure.column
    )[[mode, other]].dropna()
    return not wide.empty and bool((wide[mode] == wide[other]).all())


def _pairs(trials: pd.DataFrame, control: str, measure: Measure, paired: bool) -> list[Pair]:
    pairs = []
    for architecture, by_mode in values_by_trial(trials, measure.column).items():
        if control not in by_mode:
            continue
        base = by_mode.pop(control)
        found = (
            match_trials((architecture, mode), values, base, paired=paired)
            for mode, values in by_mode.items()
        )
        pairs += [pair for pair in found if len(pair.values)]
    return pairs


def _verdict(row: pd.Series, alpha: float) -> str:
    if row["test"] == IDENTICAL:
        return IDENTICAL
    if row["p_holm"] <= alpha:
        return "higher" if row["difference"] > 0 else "lower"
    if row["low"] == row["high"] == 0:
        return "constant"
    return "equivalent" if row["equivalence_holm"] <= alpha else "open"
