"""Robustness of trained networks to damage: curves by mode, and differences from the control.

The mean over draws is taken within each trial first, so that trials are the units: n counts
trials, and the interval is over them.
"""

from __future__ import annotations

import pandas as pd

from antifragile.analysis.inference.effects import means_with_intervals

_KEYS = ["architecture", "mode", "damage", "level"]


def robustness_curves(robustness: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Mean test accuracy under damage.

    Args:
        robustness: The result of `frames.robustness_frame`.
        confidence: Coverage of the t interval over trials.

    Returns:
        Columns architecture, mode, damage, level, n, mean, low, high (percent); low and high
        are missing where there is a single trial.
    """
    return _summarise(_per_trial(robustness)["test_accuracy"], confidence)


def robustness_differences(
    robustness: pd.DataFrame, *, control: str = "none", confidence: float = 0.95
) -> pd.DataFrame:
    """Difference from the control, trial by trial, under the same damage.

    All modes of a trial lose the same neurons and get the same noise, so the differences are
    paired; with paired trials their training is as well.

    Returns:
        As `robustness_curves`, the control left out; mean, low and high in points.
    """
    values = _per_trial(robustness)["test_accuracy"].unstack("mode")
    differences = values.drop(columns=control).sub(values[control], axis=0)
    stacked = differences.stack()
    assert isinstance(stacked, pd.Series)
    return _summarise(stacked, confidence)


def _per_trial(robustness: pd.DataFrame) -> pd.DataFrame:
    keys = ["architecture", "mode", "trial", "damage", "level"]
    return robustness.groupby(keys, sort=False)[["test_accuracy"]].mean()


def _summarise(values: pd.Series[float], confidence: float) -> pd.DataFrame:
    grouped = values.groupby(level=_KEYS, sort=False)
    return means_with_intervals(grouped, confidence).reset_index()
