"""The gap between peak and test accuracy, by mode and against the control."""

import pandas as pd
import pytest

from antifragile.analysis.peak_bias import optimism, trial_gaps
from antifragile.errors import DataError
from tests.analysis.trial_frames import made_trials


def test_gaps_are_averaged_over_architectures() -> None:
    frame = made_trials(
        {("a", "none"): [90.0, 92.0], ("a", "full"): [93.0], ("b", "none"): [50.0]}
    ).assign(test_accuracy=[89.0, 91.0, 90.0, 47.0])
    assert trial_gaps(frame)["gap"].tolist() == [1, 1, 3, 3]
    table = optimism(frame).set_index("mode")
    assert table.loc["none", ["architectures", "trials", "gap"]].tolist() == [2, 3, 2]
    assert table.loc["full", ["gap", "excess"]].tolist() == [3, 2]
    assert pd.isna(table.loc["none", "excess"])
    assert pd.isna(table.loc["full", "excess_low"])


def test_without_test_accuracy_there_is_no_gap() -> None:
    with pytest.raises(DataError, match="no test accuracy"):
        optimism(made_trials({("a", "none"): [90.0]}))
    assert optimism(made_trials({})).empty
