"""Robustness curves: trials are the units, differences are paired."""

import pandas as pd
import pytest

from antifragile.analysis.robustness import robustness_curves, robustness_differences


def frame() -> pd.DataFrame:
    rows = [
        (mode, trial, draw, value)
        for mode, values in {"none": (50.0, 70.0), "output": (53.0, 75.0)}.items()
        for trial, value in enumerate(values, start=1)
        for draw, value in ((1, value - 1), (2, value + 1))
    ]
    columns = ["mode", "trial", "draw", "test_accuracy"]
    return pd.DataFrame(rows, columns=columns).assign(
        architecture="a", damage="weight-noise", level=0.1
    )


def test_curves_average_draws_within_trials() -> None:
    curves = robustness_curves(frame()).set_index("mode")
    assert curves.loc["none", ["n", "mean"]].tolist() == [2, 60.0]
    # Two trials at 50 and 70: t(0.975, 1) = 12.706 times a standard error of 10.
    assert curves.loc["none", "high"] == pytest.approx(60 + 127.06, abs=0.01)


def test_differences_are_taken_trial_by_trial() -> None:
    found = robustness_differences(frame())
    assert found["mode"].tolist() == ["output"]
    assert found[["n", "mean"]].to_numpy().tolist() == [[2, 4.0]]
    assert found.loc[0, "low"] == pytest.approx(4 - 12.706, abs=0.01)


def test_a_single_trial_has_no_interval() -> None:
    one = frame()[lambda rows: rows.trial == 1]
    assert robustness_curves(one)["low"].isna().all()
