"""The optimism of a peak: peak validation accuracy minus test accuracy, by mode.

The peak is the best of as many looks at the validation split as there are meta-loops; the test
split is looked at once. A mode with noisier candidates gains more from the best of many looks,
so the gap is compared with the control's. Whatever else differs between the two splits (MNIST's
test split is the easier one for some networks) is common to all modes.
"""

from __future__ import annotations

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
        known = per_cell[mode].dropna()
        is_compared = mode != control and control in per_cell
        excess = (known - per_cell[control]).dropna() if is_compared else known[:0]
        ends, excess_ends = (mean_interval(v.to_numpy(), confidence) for v in (known, excess))
        sizes = (len(known), int((gaps["mode"] == mode).sum()))
        rows.append([mode, *sizes, known.mean(), *ends, excess.mean(), *excess_ends])
    names = ["mode", "architectures", "trials", "gap", "low", "high"]
    return pd.DataFrame(rows, columns=[*names, "excess", "excess_low", "excess_high"])
