"""The optimism of a peak: peak validation accuracy minus test accuracy, by mode.

The peak is the best of as many looks at the validation split as there are meta-loops; the test
split is looked at once. A mode with noisier candidates gains more from the best of many looks,
so the gap is compared with the control's. Whatever else differs between the two splits (MNIST's
test split is the easier one for some networks) is common to all modes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from antifragile.analysis.inference.effects import mean_interval
from antifragile.analysis.summary import Measure, measured


def trial_gaps(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per trial with ``gap``: peak validation minus test accuracy, percentage points.

    Raises:
        DataError: The trials have no test accuracy.
    """
    trials = measured(measured(trials, Measure.TEST), Measure.PEAK)
    gap = trials[Measure.PEAK.column] - trials[Measure.TEST.column]
    return trials[["architecture", "mode", "trial"]].assign(gap=gap)


def optimism(
    trials: pd.DataFrame, *, control: str = "none", confidence: float = 0.95
) -> pd.DataFrame:
    """Mean gap of each mode over architectures, and its difference from the control's.

    The unit is an architecture: its trials are averaged first, so that intervals speak of
    architectures like these.

    Args:
        trials: One row per trial with test accuracy, as from a store.
        control: The mode compared with.
        confidence: Coverage of the intervals (Student's).

    Returns:
        Columns mode, architectures, trials, gap, low, high, and over the architectures that have
        the control: excess (gap minus the control's), excess_low, excess_high; points.

    Raises:
        DataError: The trials have no test accuracy.
    """
    gaps = trial_gaps(trials)
    per_cell = gaps.groupby(["architecture", "mode"], sort=False)["gap"].mean().unstack("mode")
    rows = []
    for mode in gaps["mode"].unique():
        known = per_cell[mode].dropna().to_numpy(dtype=float)
        low, high = mean_interval(known, confidence)
        row = {
            "mode": mode,
            "architectures": len(known),
            "trials": int((gaps["mode"] == mode).sum()),
            "gap": known.mean(),
            "low": low,
            "high": high,
        }
        rows.append({**row, **_excess(per_cell, mode, control, confidence)})
    names = ["mode", "architectures", "trials", "gap", "low", "high"]
    return pd.DataFrame(rows, columns=[*names, "excess", "excess_low", "excess_high"])


def _excess(per_cell: pd.DataFrame, mode: str, control: str, confidence: float) -> dict[str, float]:
    if mode == control or control not in per_cell:
        return {"excess": np.nan, "excess_low": np.nan, "excess_high": np.nan}
    differences = (per_cell[mode] - per_cell[control]).dropna().to_numpy(dtype=float)
    if not len(differences):
        return {"excess": np.nan, "excess_low": np.nan, "excess_high": np.nan}
    low, high = mean_interval(differences, confidence)
    return {"excess": differences.mean(), "excess_low": low, "excess_high": high}
