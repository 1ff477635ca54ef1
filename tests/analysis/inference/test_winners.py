"""Modes not beaten: Holm within an architecture, single trials beat nothing."""

import numpy as np
import pandas as pd

from antifragile.analysis.inference.winners import (
    best_modes,
    family_within_architecture,
    modes_not_beaten,
)
from antifragile.analysis.summary import Measure


def made_trials(cells: dict[str, list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"architecture": "1*4", "mode": mode, "trial": trial, Measure.PEAK.column: value}
            for mode, values in cells.items()
            for trial, value in enumerate(values, start=1)
        ]
    )


def test_a_mode_far_below_the_best_is_beaten_and_one_beside_it_is_not() -> None:
    best = [90.0 + i / 10 for i in range(8)]
    cells = {"low": [value - 5 for value in best], "best": best, "near": best[::-1]}
    trials = made_trials(cells)
    assert modes_not_beaten(trials, Measure.PEAK, paired=False) == {"1*4": ("best", "near")}


def test_a_single_trial_beats_nothing() -> None:
    trials = made_trials({"low": [10.0], "best": [90.0, 91.0, 92.0]})
    for paired in (True, False):
        assert modes_not_beaten(trials, Measure.PEAK, paired=paired) == {"1*4": ("low", "best")}


def test_modes_that_share_the_highest_value_are_all_named() -> None:
    assert best_modes(("a", "b", "c"), np.array([1.0, 2.0, 2.0])) == ("b", "c")


def test_the_family_says_how_many_trials_are_needed() -> None:
    family = family_within_architecture(n_modes=6, n_trials=3, paired=True)
    assert (family.n_tests, family.can_show, family.trials_needed) == (5, False, 8)
