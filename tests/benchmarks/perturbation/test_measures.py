"""The measures of steadiness, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.perturbation.measures.sensitivity import (
    best_rate,
    capped,
    oscillation,
    sd_interval,
    sensitivity,
    wilson_interval,
)
from benchmarks.perturbation.measures.steadiness import EARLY_STOPPING, summarise

LOSSES = np.array([[1.0, 1.0], [0.2, 0.4], [np.nan, 5.0]])  # (rates, seeds)
INITIAL = np.array([2.0, 2.0])


def test_a_loss_that_is_no_number_or_worse_than_at_the_start_counts_as_that() -> None:
    assert capped(LOSSES, INITIAL).tolist() == [[1.0, 1.0], [0.2, 0.4], [2.0, 2.0]]
    assert capped(np.array([[np.inf]]), np.array([3.0])).tolist() == [[3.0]]


def test_sensitivity_by_hand() -> None:
    assert sensitivity(LOSSES, INITIAL) == pytest.approx([3.2 / 3 - 0.2, 3.4 / 3 - 0.4])
    assert best_rate(LOSSES, INITIAL) == 1


def test_a_method_that_never_learns_looks_good_only_against_itself() -> None:
    dead = np.full((3, 2), 2.0)
    assert sensitivity(dead, INITIAL).tolist() == [0.0, 0.0]
    against_others = sensitivity(dead, INITIAL, best=0.3)
    assert (against_others > sensitivity(LOSSES, INITIAL, best=0.3)).all()


def test_oscillation_looks_at_the_last_tenth_alone() -> None:
    losses = np.concatenate([np.linspace(5, 1, 90), np.tile([1.0, 3.0], 5)])[:, None]
    assert oscillation(losses) == pytest.approx([np.std([1.0, 3.0] * 5, ddof=1)])
    losses[-1] = np.nan
    assert np.isnan(oscillation(losses)).all()


def test_wilsons_interval_is_wilsons() -> None:
    assert wilson_interval(9, 10) == pytest.approx((59.58, 98.21), abs=1e-2)
    assert wilson_interval(10, 10)[1] == pytest.approx(100.0)


def test_the_interval_of_a_standard_deviation() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    sd, *ends = sd_interval(values)
    assert sd == pytest.approx(np.sqrt(2.5))
    assert ends == pytest.approx([0.9473, 4.5434], abs=1e-3)
    assert np.isnan(sd_interval(values[:1])).all()


def made_runs(**losses: list[list[float]]) -> pd.DataFrame:
    """Runs of methods from losses by rate and seed, all starting at 2."""
    return pd.DataFrame(
        [
            {
                "task": "t",
                "optimizer": "sgd",
                "method": method,
                "magnitude": 0.1,
                "rate": 10.0**i,
                "seed": seed,
                "initial": 2.0,
                "loss": loss,
                "best_loss": loss / 2,
                "accuracy": 50.0,
                "best_accuracy": 60.0,
                "oscillation": 0.01,
                "gradient_evaluations": 7,
                "seconds": 0.5,
            }
            for method, by_rate in losses.items()
            for i, by_seed in enumerate(by_rate)
            for seed, loss in enumerate(by_seed)
        ]
    )


def test_methods_are_compared_at_their_own_best_rate_and_seed_by_seed() -> None:
    rows = summarise(made_runs(none=[[1.0, 1.2], [0.6, 0.8]], other=[[0.5, 0.6], [9.0, np.nan]]))
    rows = rows.set_index("method")
    assert rows["rate"].to_dict() == {"none": 10.0, "other": 1.0, EARLY_STOPPING: 10.0}
    assert rows.loc["other", "difference"] == pytest.approx(-0.15)
    assert rows.loc["other", "diverged"] == 50.0
    assert rows.loc["none", "difference"] == 0.0
    assert rows.loc[EARLY_STOPPING, "loss"] == pytest.approx(0.35)
    assert rows.loc[EARLY_STOPPING, "accuracy"] == 60.0


def test_the_common_best_is_that_of_all_methods() -> None:
    rows = summarise(made_runs(none=[[1.0, 1.0], [0.5, 0.5]], other=[[2.0, 2.0], [2.0, 2.0]]))
    rows = rows.set_index("method")
    assert rows.loc["other", "sensitivity"] == 0.0
    assert rows.loc["other", "common_sensitivity"] == pytest.approx(2.0 - 0.25)
    assert rows.loc["none", "common_sensitivity"] == pytest.approx(0.75 - 0.25)
