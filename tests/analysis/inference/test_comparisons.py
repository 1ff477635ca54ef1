"""Comparisons with the control: exact small cases, agreement with scipy, what families can show."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from antifragile.analysis.frames import read_trials_csv
from antifragile.analysis.inference.comparisons import FamilyScope, compare_with_control
from antifragile.analysis.inference.effects import (
    cells_with_intervals,
    mean_interval,
    two_sample_effect,
)
from antifragile.analysis.inference.permutation import Design, paired_p, trials_needed, two_sample_p
from antifragile.analysis.summary import Measure
from antifragile.errors import DataError
from tests.analysis.trial_frames import made_trials


def two_sample(x: list[float], y: list[float]) -> float:
    design = Design(n=len(x), n_control=len(y), paired=False)
    return float(two_sample_p(np.array([x]), np.array([y]), design=design)[0])


def paired(differences: list[float]) -> float:
    design = Design(n=len(differences), n_control=len(differences), paired=True)
    return float(paired_p(np.array([differences]), design=design)[0])


def test_complete_separation_gives_the_smallest_p_there_is() -> None:
    design = Design(n=10, n_control=10, paired=False)
    assert design.n_rearrangements == 184_756
    low, high = [float(i) for i in range(10)], [float(i) for i in range(20, 30)]
    assert two_sample(low, high) == design.smallest_p == 2 / 184_756


def test_p_values_counted_by_hand() -> None:
    assert two_sample([1.0, 2.0], [3.0, 4.0]) == pytest.approx(2 / 6)
    assert two_sample([1.0], [2.0, 3.0]) == pytest.approx(2 / 3)  # splits 1|23 and 3|12
    assert paired([1.0, 1.0, 1.0]) == 2 / 8
    assert paired([1.0, -1.0]) == 1


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=5),
    st.lists(st.integers(0, 9), min_size=2, max_size=5),
)
def test_the_exact_test_agrees_with_scipy(x: list[int], y: list[int]) -> None:
    def absolute_gap(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(a.mean(axis=axis) - b.mean(axis=axis))

    theirs = stats.permutation_test((x, y), absolute_gap, vectorized=True, alternative="greater")
    assert two_sample([float(v) for v in x], [float(v) for v in y]) == pytest.approx(theirs.pvalue)


def test_too_many_rearrangements_are_drawn_and_said_to_be() -> None:
    design = Design(n=30, n_control=30, paired=False, n_monte_carlo=999)
    assert not design.is_exact
    assert design.words == "permutation, 999 random of 1.2e+17"
    assert design.smallest_p == 1 / 1000
    values = np.random.default_rng(0).normal(size=(1, 60))
    p = two_sample_p(values[:, :30] + 9, values[:, 30:], design=design)
    assert p[0] == 1 / 1000
    assert paired_p(values[:, :30] + 9, design=Design(n=30, n_control=30, paired=True))[0] < 1e-4


@pytest.mark.parametrize(("threshold", "unpaired", "pairs"), [(0.05, 4, 6), (0.05 / 490, 9, 15)])
def test_trials_needed(threshold: float, unpaired: int, pairs: int) -> None:
    assert trials_needed(threshold, paired=False) == unpaired
    assert trials_needed(threshold, paired=True) == pairs


def test_the_effect_and_its_intervals_are_the_textbooks() -> None:
    x, y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 4.0, 6.0])
    effect = two_sample_effect(x, y, margin=10.0)
    welch = stats.ttest_ind(x, y, equal_var=False).confidence_interval()
    assert (effect.low, effect.high) == pytest.approx((welch.low, welch.high))
    assert effect.size == pytest.approx(-1.5 / np.sqrt((3 * x.var(ddof=1) + 2 * 4) / 5))
    assert effect.size_low < effect.size < effect.size_high
    assert effect.equivalence_p < 0.05
    assert mean_interval(x) == pytest.approx(
        stats.t.interval(0.95, 3, loc=2.5, scale=x.std(ddof=1) / 2)
    )


def test_identical_paired_arms_are_identical_and_no_test() -> None:
    values = [98.0, 97.0, 96.5, 98.2]
    frame = made_trials(
        {("a", "none"): values, ("a", "decay"): values, ("a", "full"): [v - 1 for v in values]}
    )
    result = compare_with_control(frame, paired=True)
    decay, full = (row for _, row in result.table.iterrows())
    assert (decay["test"], decay["verdict"], decay["difference"]) == ("identical", "identical", 0)
    assert np.isnan(decay["p"])
    assert full["p"] == 2 / 16
    family = result.families[0]
    assert (family.n_tests, family.n_identical, family.can_show) == (1, 1, False)
    assert family.words == (
        "family all: 1 test, 1 identical; smallest attainable p 0.12 exceeds the first threshold "
        "0.05: no corrected difference can be found; 6 trials per mode would be needed."
    )


def test_equal_values_in_unpaired_arms_are_constant_not_identical() -> None:
    frame = made_trials({("a", "none"): [11.02] * 3, ("a", "full"): [11.02] * 3})
    result = compare_with_control(frame, paired=False)
    row = result.table.loc[0]
    assert (row["verdict"], row["p"], row["low"], row["high"]) == ("constant", 1, 0, 0)
    assert np.isnan(row["size"])


def test_pairs_are_matched_by_trial_number() -> None:
    frame = made_trials({("a", "none"): [1.0, 2.0, 3.0], ("a", "full"): [3.0, 2.0, 1.0]})
    frame.loc[frame["mode"] == "full", "trial"] = [3, 2, 9]
    row = compare_with_control(frame, paired=True).table.loc[0]
    assert (row["n"], row["test"]) == (2, "identical")


def test_a_single_trial_is_compared_without_an_interval() -> None:
    frame = made_trials({("a", "none"): [1.0], ("a", "full"): [3.0]})
    row = compare_with_control(frame, paired=False).table.loc[0]
    assert (row["difference"], row["p"], row["verdict"]) == (2, 1, "open")
    assert np.isnan(row["low"])
    assert cells_with_intervals(frame).loc[0, ["sample_sd", "low"]].isna().all()


def test_what_is_missing_is_said() -> None:
    frame = made_trials({("a", "decay"): [1.0], ("a", "full"): [3.0]})
    with pytest.raises(DataError, match=r"no trial of the control 'deca'; did you mean 'decay'\?"):
        compare_with_control(frame, paired=False, control="deca")
    with pytest.raises(DataError, match="no test accuracy: the column test_accuracy is missing"):
        compare_with_control(frame, paired=False, control="decay", measure=Measure.TEST)
    empty = compare_with_control(frame.iloc[:0], paired=False)
    assert empty.table.empty
    assert empty.families == ()
    assert cells_with_intervals(frame.iloc[:0]).empty


def test_the_papers_490_comparisons(paper_trials: Path) -> None:
    trials = read_trials_csv(paper_trials)
    result = compare_with_control(trials, paired=False)
    assert len(result.table) == 490
    family = result.families[0]
    assert (family.n_tests, family.can_show) == (490, True)
    assert family.smallest_p == 2 / 184_756
    by_cell = result.table.set_index(["architecture", "mode"])
    assert by_cell.loc[("1*64", "output"), "verdict"] == "lower"
    assert by_cell.loc[("115*115", "full"), "verdict"] == "constant"
    assert (by_cell["p_bh"] <= by_cell["p_holm"] + 1e-12).all()
    assert (by_cell["p"] >= by_cell["smallest_p"] - 1e-15).all()
    one = compare_with_control(
        trials[trials["architecture"].isin(["1*64", "8*8"])],
        paired=False,
        family=FamilyScope.ARCHITECTURE,
    )
    assert [f.name for f in one.families] == ["1*64", "8*8"]
    assert all(f.n_tests == 5 for f in one.families)


def test_cells_have_both_standard_deviations() -> None:
    row = cells_with_intervals(made_trials({("a", "none"): [1.0, 3.0]})).loc[0]
    assert (row["n"], row["mean"], row["sd"]) == (2, 2, 1)
    assert row["sample_sd"] == pytest.approx(2**0.5)
    assert pd.Interval(row["low"], row["high"]).mid == 2
