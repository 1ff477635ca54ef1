"""Summary of each cell (architecture and mode): number, mean and spread of its trials."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pandas as pd
from pandas.api.typing import SeriesGroupBy

from antifragile.errors import DataError


class Measure(StrEnum):
    """The accuracy of a trial that is summarised.

    PEAK: the bounty at the end (validation), what the paper reports; an optimistic number,
        being the best of many looks.
    FINAL: validation accuracy of the last candidate.
    TEST: test accuracy of the LKG, looked at once.
    """

    PEAK = "peak"
    FINAL = "final"
    TEST = "test"

    @property
    def column(self) -> str:
        """Its column in a frame of trials."""
        return "test_accuracy" if self is Measure.TEST else f"{self}_validation_accuracy"


def summarise(trials: pd.DataFrame, measure: Measure = Measure.PEAK) -> pd.DataFrame:
    """Summarise each cell.

    Args:
        trials: One row per trial, as `frames.trials_frame` gives them.
        measure: The accuracy that is summarised.

    Returns:
        Columns architecture, mode, n, mean, sd, min, max (percent), in order of appearance.
        ``sd`` is the population standard deviation (ddof = 0), as in the paper's tables.
    """
    grouped = by_cell(trials, measure)
    summary = grouped.agg(n="count", mean="mean", min="min", max="max")
    summary.insert(2, "sd", grouped.std(ddof=0))
    return summary.reset_index()


def measured(trials: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """Return the trials, or say that they do not have the measure.

    Raises:
        DataError: Its column is missing, as in a CSV that has peaks only.
    """
    if measure.column not in trials.columns and len(trials):
        raise DataError(
            f"these trials have no {measure.value} accuracy: the column {measure.column} is "
            "missing; use --measure peak."
        )
    return trials if measure.column in trials.columns else trials.assign(**{measure.column: []})


def by_cell(trials: pd.DataFrame, measure: Measure) -> SeriesGroupBy[Any, Any]:
    """The measure of every trial, grouped by cell, in order of appearance."""
    grouped = measured(trials, measure).groupby(["architecture", "mode"], sort=False)
    return grouped[measure.column]
