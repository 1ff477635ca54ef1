"""Two studies cell by cell: does one repeat what the other found?

Cells that both have are compared as independent samples: Welch's interval of the difference in
means, and a permutation test with Holm's correction over all cells.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from antifragile.analysis.inference.families import ALPHA, Family, corrected, family_of
from antifragile.analysis.inference.pairs import Pair, compare_pairs, grouped_values
from antifragile.analysis.regimes.words import TOLERANCE
from antifragile.analysis.summary import Measure, measured

NO_DIFFERENCE = "no difference shown"
_COLUMNS = (
    *("architecture", "mode", "n", "mean", "n_other", "mean_other"),
    *("difference", "low", "high", "smallest_p", "p", "p_holm", "verdict"),
)


def compare_studies(trials: pd.DataFrame, other: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """Compare every cell that both studies have.

    Args:
        trials: One row per trial.
        other: The trials of the other study.
        measure: The accuracy that is compared.

    Returns:
        Columns architecture, mode, n, mean, n_other, mean_other, difference (first minus other),
        low, high (95 %, NaN below two trials), smallest_p, p (1 below two trials), p_holm,
        verdict (higher, lower, no difference shown).
    """
    labels, column = ("architecture", "mode"), measure.column
    mine, theirs = (
        grouped_values(measured(rows, measure).dropna(subset=[column]), labels, column)
        for rows in (trials, other)
    )
    pairs = [
        Pair(label=cell, values=values, control=theirs[cell], paired=False)
        for cell, values in mine.items()
        if cell in theirs
    ]
    frame = compare_pairs(pairs, labels, margin=TOLERANCE, confidence=0.95, least_trials=2)
    frame = frame.rename(columns={"n_control": "n_other"}).assign(
        mean=[pair.values.mean() for pair in pairs],
        mean_other=[pair.control.mean() for pair in pairs],
        p=frame["p"].fillna(1.0),
    )
    frame["p_holm"] = corrected(frame["p"])
    sides = np.where(frame["difference"] > 0, "higher", "lower")
    frame["verdict"] = np.where(frame["p_holm"] <= ALPHA, sides, NO_DIFFERENCE)
    return frame[list(_COLUMNS)]


def family_of_cells(comparison: pd.DataFrame) -> Family:
    """Describe the family of all tests of `compare_studies`."""
    return family_of(comparison, "all", alpha=ALPHA, paired=False)
