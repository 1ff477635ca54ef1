"""Sizes of differences: means and standardised effects with intervals, and equivalence.

Intervals of means and differences are Student's (Welch's for two samples), from
`statsmodels.stats.weightstats`; equivalence is its TOST. The standardised effect is the
difference over the standard deviation of a trial (pooled; of the differences when paired), with
the interval that inverts the noncentral t distribution. Where all values of both arms agree with
their means (no spread) these numbers do not exist and NaN says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.typing import SeriesGroupBy
from scipy.special import chdtri, nctdtrinc
from scipy.stats import t as student
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_ind, ttost_paired

from antifragile.analysis.summary import Measure, by_cell, summarise

_LARGE_T = 300.0
_SPREAD = 1e-9  # percentage points below which a standard deviation is rounding
_NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A difference (mode minus control), its interval, and the same in standard deviations.

    Args:
        difference: Difference of the means, percentage points.
        low: Lower end of its interval.
        high: Upper end.
        size: Standardised effect.
        size_low: Lower end of its interval.
        size_high: Upper end.
        equivalence_p: p of the TOST against the margin; small when the difference is smaller.
    """

    difference: float
    low: float = _NAN
    high: float = _NAN
    size: float = _NAN
    size_low: float = _NAN
    size_high: float = _NAN
    equivalence_p: float = _NAN


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval of a mean; (NaN, NaN) for a single value, a point for equal ones.

    Args:
        values: (n,) percent.
        confidence: Coverage of the interval.
    """
    if len(values) < 2:
        return _NAN, _NAN
    if _has_no_spread(values):
        return float(values.mean()), float(values.mean())
    low, high = DescrStatsW(values).tconfint_mean(alpha=1 - confidence)
    return float(low), float(high)


def means_with_intervals(grouped: SeriesGroupBy[Any, Any], confidence: float) -> pd.DataFrame:
    """Number, mean and Student's interval of every group; NaN ends for a single value.

    Returns:
        Columns n, mean, low, high; the groups as index.
    """
    frame = grouped.agg(["count", "mean", "sem"]).rename(columns={"count": "n"})
    reach = student.ppf((1 + confidence) / 2, (frame["n"] - 1).clip(lower=1)) * frame.pop("sem")
    return frame.assign(low=frame["mean"] - reach, high=frame["mean"] + reach)


def cells_with_intervals(
    trials: pd.DataFrame, measure: Measure = Measure.PEAK, *, confidence: float = 0.95
) -> pd.DataFrame:
    """Summarise each cell, with an interval of its mean.

    Returns:
        The columns of `summarise` and sample_sd (ddof = 1; NaN for one trial), low, high
        (Student's interval of the mean), percent.
    """
    cells = [values.to_numpy(dtype=float) for _, values in by_cell(trials, measure)]
    ends = [mean_interval(values, confidence) for values in cells]
    return summarise(trials, measure).assign(
        mean=[values.mean() for values in cells],  # numpy's rounds as the paper's tables do
        sd=[values.std() for values in cells],
        sample_sd=[values.std(ddof=1) if len(values) > 1 else _NAN for values in cells],
        low=[low for low, _ in ends],
        high=[high for _, high in ends],
    )


def two_sample_effect(
    values: np.ndarray, control: np.ndarray, *, margin: float, confidence: float = 0.95
) -> Effect:
    """Compare two independent samples; variances may differ.

    Args:
        values: (n,) trials of the mode, percent.
        control: (m,) trials of the control.
        margin: Margin of the equivalence test, percentage points.
        confidence: Coverage of the intervals.
    """
    difference, n, m = float(values.mean() - control.mean()), len(values), len(control)
    if min(n, m) < 2:
        return Effect(difference=difference)
    if _has_no_spread(values) and _has_no_spread(control):
        return Effect(difference=difference, low=difference, high=difference)
    compared = CompareMeans(DescrStatsW(values), DescrStatsW(control))
    low, high = compared.tconfint_diff(alpha=1 - confidence, usevar="unequal")
    variance = ((n - 1) * values.var(ddof=1) + (m - 1) * control.var(ddof=1)) / (n + m - 2)
    scale = (1 / n + 1 / m) ** 0.5
    size = difference / variance**0.5
    ends = _noncentral_interval(size / scale, n + m - 2, confidence)
    p = ttost_ind(values, control, -margin, margin, usevar="unequal")[0]
    return Effect(
        difference=difference,
        low=float(low),
        high=float(high),
        size=size,
        size_low=ends[0] * scale,
        size_high=ends[1] * scale,
        equivalence_p=float(p),
    )


def paired_effect(
    values: np.ndarray, control: np.ndarray, *, margin: float, confidence: float = 0.95
) -> Effect:
    """Compare trials that share their number; arguments as `two_sample_effect`, n = m."""
    differences = values - control
    difference, n = float(differences.mean()), len(differences)
    if n < 2:
        return Effect(difference=difference)
    if _has_no_spread(differences):
        return Effect(difference=difference, low=difference, high=difference)
    low, high = mean_interval(differences, confidence)
    scale = (1 / n) ** 0.5
    size = difference / float(differences.std(ddof=1))
    ends = _noncentral_interval(size / scale, n - 1, confidence)
    p = ttost_paired(values, control, -margin, margin)[0]
    return Effect(
        difference=difference,
        low=low,
        high=high,
        size=size,
        size_low=ends[0] * scale,
        size_high=ends[1] * scale,
        equivalence_p=float(p),
    )


def _has_no_spread(values: np.ndarray) -> bool:
    return float(np.ptp(values)) < _SPREAD


def _noncentral_interval(t: float, degrees: int, confidence: float) -> tuple[float, float]:
    """The noncentralities at which the observed t is at the upper and the lower tail.

    Far out the normal part of t is next to nothing beside the chi-squared one, which then gives
    the ends (to 1e-4 there); scipy's search becomes wrong, and at 200,000 it does not end.
    """
    tail = (1 - confidence) / 2
    if abs(t) > _LARGE_T:
        ends = (t * float(np.sqrt(chdtri(degrees, p) / degrees)) for p in (1 - tail, tail))
        low, high = sorted(ends)
        return low, high
    return float(nctdtrinc(degrees, 1 - tail, t)), float(nctdtrinc(degrees, tail, t))
