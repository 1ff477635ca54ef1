"""The growth of accuracy over meta-loops: means, times of the peak, late improvement.

All functions take *curves*: one row per meta-loop with architecture, mode, trial, meta_loop,
validation_accuracy and bounty_accuracy (percent). `curves` makes them from the meta-loops of a
store or from a CSV such as the paper's, which holds one trial per cell (its best).

Source: PSA paper, section III.E and Figure 10.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student
from statsmodels.stats.proportion import proportion_confint

from antifragile.analysis.csv_files import read_csv
from antifragile.config.modes import mode_names

CURVE_COLUMNS = ("architecture", "mode", "meta_loop", "validation_accuracy")
TRIAL_KEY = ["architecture", "mode", "trial"]
NEAR_PEAK = 0.1  # percentage points
_EPSILON = 1e-9


def read_curves_csv(path: Path, *, zero_r: float = math.nan) -> pd.DataFrame:
    """Read a CSV of curves: columns architecture, mode, meta_loop, validation_accuracy (and trial).

    Args:
        path: The file.
        zero_r: ZeroR accuracy in percent, which tells percent from fractions; NaN when unknown.

    Raises:
        DataError: As `csv_files.read_csv`.
    """
    key = [*TRIAL_KEY, "meta_loop"]
    return curves(read_csv(path, CURVE_COLUMNS, key=key, what="curves", zero_r=zero_r))


def curves(meta_loops: pd.DataFrame) -> pd.DataFrame:
    """Sort into curves; a missing trial number becomes 1, a missing bounty the best so far.

    Args:
        meta_loops: One row per meta-loop, as `frames.meta_loops_frame` or a CSV gives them.
    """
    frame = meta_loops if "trial" in meta_loops else meta_loops.assign(trial=1)
    modes = list(dict.fromkeys([*mode_names(), *frame["mode"].unique()]))
    keys = (
        frame["meta_loop"].to_numpy(),
        frame["trial"].to_numpy(),
        pd.Categorical(frame["mode"], categories=modes).codes,
        pd.factorize(frame["architecture"])[0],  # in order of appearance
    )
    order = np.lexsort(keys)
    if (order != np.arange(len(order))).any():
        frame = frame.take(order)
    frame = frame.reset_index(drop=True)
    if "bounty_accuracy" not in frame:
        best = frame.groupby(TRIAL_KEY, sort=False)["validation_accuracy"].cummax()
        frame = frame.assign(bounty_accuracy=best)
    return frame


def mean_and_best_curves(frame: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Mean over trials at every meta-loop with its interval, and the best trial of each cell.

    Args:
        frame: Curves.
        confidence: Coverage of the interval.

    Returns:
        Columns architecture, mode, meta_loop, n, mean, low, high (NaN below two trials), best
        (validation accuracy of the trial with the highest peak), percent.
    """
    key = ["architecture", "mode", "meta_loop"]
    grouped = frame.groupby(key, sort=False)["validation_accuracy"]
    means = grouped.agg(n="count", mean="mean", sd="std")
    n = means["n"].to_numpy()
    reach = student.ppf((1 + confidence) / 2, np.maximum(n - 1, 1)) * means["sd"] / np.sqrt(n)
    means["low"] = (means["mean"] - reach).clip(0, 100)
    means["high"] = (means["mean"] + reach).clip(0, 100)
    summary = means[["n", "mean", "low", "high"]].reset_index()
    peaks = frame.groupby(TRIAL_KEY, sort=False)["validation_accuracy"].max().reset_index()
    peaks = peaks.sort_values("validation_accuracy", ascending=False, kind="stable")
    best = peaks.drop_duplicates(["architecture", "mode"])[TRIAL_KEY]
    chosen = frame.merge(best, on=TRIAL_KEY)[[*key, "validation_accuracy"]]
    return summary.merge(chosen.rename(columns={"validation_accuracy": "best"}), on=key, how="left")


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
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Share of trials whose bounty still rises at meta-loop n or later ("late breakthroughs").

    Args:
        frame: Curves; with a column such as ``regime`` shares can be taken by it.
        by: Columns whose values get a share each.
        confidence: Coverage of the interval.

    Returns:
        The columns of ``by``, then meta_loop, trials, improving, share, low, high (Wilson). Only
        meta-loops from the second on: the first improves on nothing.
    """
    groups = frame.groupby(TRIAL_KEY, sort=False)["bounty_accuracy"]
    gain = groups.transform("max") - groups.shift()
    later = frame.assign(late=gain > _EPSILON)[gain.notna()]
    shares = later.groupby([*by, "meta_loop"], sort=False)["late"].agg(
        trials="count", improving="sum"
    )
    shares["share"] = shares["improving"] / shares["trials"]
    shares["low"], shares["high"] = proportion_confint(
        shares["improving"], shares["trials"], alpha=1 - confidence, method="wilson"
    )
    return shares.reset_index()
