"""The growth of accuracy over meta-loops: bands, times of the peak, late improvement.

All functions take *curves*: one row per meta-loop with architecture, mode, trial, meta_loop,
validation_accuracy and bounty_accuracy (percent). `curves` makes them from the meta-loops of a
store or from a CSV such as the paper's, which holds one trial per cell (its best).

Source: PSA paper, section III.E and Figure 10.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student
from statsmodels.stats.proportion import proportion_confint

from antifragile.analysis.frames import read_csv
from antifragile.config.modes import mode_names

CURVE_COLUMNS = ("architecture", "mode", "meta_loop", "validation_accuracy")
TRIAL_KEY = ["architecture", "mode", "trial"]
NEAR_PEAK = 0.1  # percentage points
_EPSILON = 1e-9


def read_curves_csv(path: Path) -> pd.DataFrame:
    """Read a CSV of curves: columns architecture, mode, meta_loop, validation_accuracy (and trial).

    Raises:
        DataError: Missing, not CSV, or without those columns.
    """
    return curves(read_csv(path, CURVE_COLUMNS, what="curves"))


def curves(meta_loops: pd.DataFrame) -> pd.DataFrame:
    """Sort into curves; a missing trial number becomes 1, a missing bounty the best so far.

    Args:
        meta_loops: One row per meta-loop, as `frames.meta_loops_frame` or a CSV gives them.
    """
    frame = meta_loops if "trial" in meta_loops else meta_loops.assign(trial=1)
    modes = [*mode_names(), *frame["mode"].unique()]
    keys = {
        "architecture": {name: place for place, name in enumerate(frame["architecture"].unique())},
        "mode": {name: modes.index(name) for name in modes},
    }
    frame = frame.sort_values(
        ["architecture", "mode", "trial", "meta_loop"],
        key=lambda column: column.map(keys[str(column.name)]) if column.name in keys else column,
        kind="stable",
        ignore_index=True,
    )
    if "bounty_accuracy" not in frame:
        best = frame.groupby(TRIAL_KEY, sort=False)["validation_accuracy"].cummax()
        frame = frame.assign(bounty_accuracy=best)
    return frame


def convergence_bands(
    frame: pd.DataFrame,
    *,
    value: str = "bounty_accuracy",
    coverage: float = 0.8,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Summarise the trials of a cell at every meta-loop.

    Args:
        frame: Curves.
        value: ``bounty_accuracy`` (best so far) or ``validation_accuracy`` (each candidate).
        coverage: Share of trials within the band.
        confidence: Coverage of the interval of the mean.

    Returns:
        Columns architecture, mode, meta_loop, n, median, band_low, band_high (quantiles over
        trials), mean, low, high (Student's interval of the mean, NaN for one trial).
    """
    tail = (1 - coverage) / 2
    grouped = frame.groupby(["architecture", "mode", "meta_loop"], sort=False)[value]
    bands = grouped.agg(n="count", median="median", mean="mean", sd="std")
    bands["band_low"], bands["band_high"] = grouped.quantile(tail), grouped.quantile(1 - tail)
    n = bands["n"].to_numpy()
    reach = student.ppf((1 + confidence) / 2, np.maximum(n - 1, 1)) * bands["sd"] / np.sqrt(n)
    bands["low"], bands["high"] = bands["mean"] - reach, bands["mean"] + reach
    names = ["n", "median", "band_low", "band_high", "mean", "low", "high"]
    return bands[names].reset_index()


def mean_and_best_curves(frame: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Mean over trials at every meta-loop with its interval, and the best trial of each cell.

    Args:
        frame: Curves.
        confidence: Coverage of the interval.

    Returns:
        Columns architecture, mode, meta_loop, n, mean, low, high (NaN below two trials), best
        (validation accuracy of the trial with the highest peak), percent.
    """
    bands = convergence_bands(frame, value="validation_accuracy", confidence=confidence)
    bands[["low", "high"]] = bands[["low", "high"]].clip(0, 100)
    peaks = frame.groupby(TRIAL_KEY, sort=False)["validation_accuracy"].max().reset_index()
    peaks = peaks.sort_values("validation_accuracy", ascending=False, kind="stable")
    best = peaks.drop_duplicates(["architecture", "mode"])[TRIAL_KEY]
    key = ["architecture", "mode", "meta_loop"]
    chosen = frame.merge(best, on=TRIAL_KEY)[[*key, "validation_accuracy"]]
    return bands.merge(chosen.rename(columns={"validation_accuracy": "best"}), on=key, how="left")


def peak_times(frame: pd.DataFrame, *, near: float = NEAR_PEAK) -> pd.DataFrame:
    """Find the meta-loops at which each trial reached its peak and came near it.

    Args:
        frame: Curves.
        near: Percentage points below the peak that count as near.

    Returns:
        A row per trial: architecture, mode, trial, meta_loops (length), peak (percent),
        peak_meta_loop (first at the peak), near_meta_loop (first within ``near`` of it).
    """
    peak = frame.groupby(TRIAL_KEY, sort=False)["bounty_accuracy"].transform("max")
    at_peak = frame[frame["bounty_accuracy"] >= peak - _EPSILON]
    near_peak = frame[frame["bounty_accuracy"] >= peak - near - _EPSILON]
    times = frame.groupby(TRIAL_KEY, sort=False).agg(
        meta_loops=("meta_loop", "max"), peak=("bounty_accuracy", "max")
    )
    times["peak_meta_loop"] = at_peak.groupby(TRIAL_KEY, sort=False)["meta_loop"].min()
    times["near_meta_loop"] = near_peak.groupby(TRIAL_KEY, sort=False)["meta_loop"].min()
    return times.reset_index()


def still_improving(
    frame: pd.DataFrame,
    *,
    by: tuple[str, ...] = ("mode",),
    least_gain: float = 0.0,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Share of trials whose bounty still rises at meta-loop n or later ("late breakthroughs").

    Args:
        frame: Curves; with a column such as ``regime`` shares can be taken by it.
        by: Columns whose values get a share each.
        least_gain: Percentage points the bounty must still gain from n on to count.
        confidence: Coverage of the interval.

    Returns:
        The columns of ``by``, then meta_loop, trials, improving, share, low, high (Wilson). Only
        meta-loops from the second on: the first improves on nothing.
    """
    groups = frame.groupby(TRIAL_KEY, sort=False)["bounty_accuracy"]
    gain = groups.transform("max") - groups.shift()
    later = frame.assign(late=gain > max(least_gain, _EPSILON))[gain.notna()]
    shares = later.groupby([*by, "meta_loop"], sort=False)["late"].agg(
        trials="count", improving="sum"
    )
    shares["share"] = shares["improving"] / shares["trials"]
    shares["low"], shares["high"] = proportion_confint(
        shares["improving"], shares["trials"], alpha=1 - confidence, method="wilson"
    )
    return shares.reset_index()
