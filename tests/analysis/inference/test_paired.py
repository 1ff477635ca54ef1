"""Paired verdicts: textbook numbers, exact p, families, looks, and advice that delivers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from antifragile.analysis.inference.paired import Judgement, PairedVerdict, judge_contrasts
from antifragile.analysis.inference.seed_advice import (
    MOST_SEEDS,
    difference_power,
    equivalence_power,
    seeds_to_settle,
)
from antifragile.errors import DataError


def made(question: str = "contribution", **targets: list[float]) -> pd.DataFrame:
    rows = [
        (question, t, seed, v) for t, values in targets.items() for seed, v in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["question", "target", "seed", "value"])


def noisy(mean: float, sd: float, n: int, seed: int = 0) -> list[float]:
    draws = np.random.default_rng(seed).normal(size=n)
    return list(mean + sd * (draws - draws.mean()) / draws.std(ddof=1))


def test_interval_and_p_are_the_textbooks() -> None:
    values = [1.0, 2.0, 4.0]
    row = judge_contrasts(made(a=values), Judgement()).of("contribution").loc["a"]
    ends = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (row.low, row.high) == pytest.approx((ends.low, ends.high))
    assert row["size"] == pytest.approx(np.mean(values) / np.std(values, ddof=1))
    assert row.p == row.smallest_p == 2 / 2**3
    assert row.verdict == "open"


def test_verdicts_of_clear_cases() -> None:
    judged = judge_contrasts(
        made(
            helps=noisy(3, 1, 10),
            harms=noisy(-3, 1, 10),
            little=noisy(0.01, 0.1, 10),
            unknown=noisy(0.3, 1, 10),
            nothing=[0.0] * 10,
        ),
        Judgement(margin=0.5),
    )
    assert judged.table.set_index("target")["verdict"].to_dict() == {
        "helps": PairedVerdict.POSITIVE,
        "harms": PairedVerdict.NEGATIVE,
        "little": PairedVerdict.EQUIVALENT,
        "unknown": PairedVerdict.OPEN,
        "nothing": PairedVerdict.IDENTICAL,
    }
    (family,) = judged.families
    assert (family.n_tests, family.n_identical) == (4, 1)
    assert judged.table["seeds_needed"].notna().tolist() == [False, False, False, True, False]


def test_without_a_margin_nothing_is_equivalent() -> None:
    table = judge_contrasts(made(little=noisy(0.01, 0.1, 10)), Judgement()).table
    assert table["verdict"].tolist() == ["open"]
    assert table["equivalence_p"].isna().all()


def test_few_seeds_say_that_nothing_can_be_found() -> None:
    targets = {f"c{i}": noisy(5, 1, 5, seed=i) for i in range(3)}
    (family,) = judge_contrasts(made(**targets), Judgement()).families
    assert not family.can_show
    assert family.words == (
        "family contribution: 3 tests; smallest attainable p 0.062 exceeds the first threshold "
        "0.017: no corrected difference can be found; 7 seeds would be needed."
    )


def test_each_question_is_a_family_of_its_own() -> None:
    both = pd.concat([made(a=noisy(1, 1, 10)), made("interaction", a=noisy(1, 1, 10))])
    table = judge_contrasts(both, Judgement()).table
    assert (table["p_holm"] == table["p"]).all()


def test_every_look_is_paid_for() -> None:
    contrasts = made(a=noisy(1, 1, 10), b=noisy(0.2, 1, 10))
    once = judge_contrasts(contrasts, Judgement()).table
    thrice = judge_contrasts(contrasts, Judgement(looks=3)).table
    assert (thrice["p"] == once["p"]).all()
    assert thrice["p_holm"].tolist() == pytest.approx((3 * once["p_holm"]).clip(upper=1).tolist())
    assert ((thrice.high - thrice.low) > (once.high - once.low)).all()


def test_failed_runs_leave_with_their_seed() -> None:
    full = judge_contrasts(made(a=[1.0, 2.0, 4.0]), Judgement()).table
    failed = judge_contrasts(made(a=[1.0, 2.0, 4.0, np.nan]), Judgement()).table
    pd.testing.assert_frame_equal(full, failed)


def test_a_pair_counts_once() -> None:
    with pytest.raises(DataError, match="a seed occurs twice under one target"):
        judge_contrasts(pd.concat([made(a=[1.0]), made(a=[1.0])]), Judgement())
    with pytest.raises(DataError, match=r"margin above 0; got 0\.05, -1"):
        Judgement(margin=-1)


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0, 2.0]])
def test_a_single_seed_and_equal_differences_are_judged_too(values: list[float]) -> None:
    row = judge_contrasts(made(a=values), Judgement(margin=1.0)).table.iloc[0]
    assert row.difference == values[0]
    assert row.verdict == "open"
    equal = len(values) > 1  # flips alone decide: 2 / 2**6 is below 0.05
    assert row.seeds_needed == 6 if equal else np.isnan(row.seeds_needed)


INFINITE = float("inf")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n_diverged", [1, 4, 10])
def test_a_training_that_diverges_is_shown_by_sign_flips_and_is_never_equivalent(
    sign: int, n_diverged: int
) -> None:
    values = [sign * v for v in [INFINITE] * n_diverged + [0.001] * (10 - n_diverged)]
    row = judge_contrasts(made(a=values), Judgement(margin=1.0)).table.iloc[0]
    assert row.difference == sign * INFINITE
    assert row.p == row.smallest_p
    assert row.verdict == (PairedVerdict.POSITIVE if sign > 0 else PairedVerdict.NEGATIVE)
    assert (row.plus_infinite, row.minus_infinite) == ((n_diverged, 0), (0, n_diverged))[sign < 0]
    assert row[["low", "high", "size", "equivalence_p"]].isna().all()


def test_rows_beside_one_that_diverged_are_judged_as_without_it() -> None:
    little = noisy(0.01, 0.1, 10)
    table = judge_contrasts(
        made(some=[INFINITE, *little[1:]], both=[-INFINITE, INFINITE, *little[2:]], little=little),
        Judgement(margin=0.5),
    ).table.set_index("target")
    assert table["verdict"].to_list() == ["open", "open", "equivalent"]
    assert np.isnan(table.loc["both", "difference"])
    alone = judge_contrasts(made(little=little), Judgement(margin=0.5)).table.iloc[0]
    assert table.loc["little", "equivalence_p"] == alone.equivalence_p
    assert table.loc["some", "seeds_needed"] > 10


@given(st.lists(st.sampled_from([-2.0, -1.0, 0.5, 1.0, 2.0]), min_size=2, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_a_diverged_pair_counts_as_the_largest_of_its_row(
    values: list[float], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(values) - 1))
    largest = max(abs(v) for n, v in enumerate(values) if n != place)
    infinite, finite = list(values), list(values)
    infinite[place], finite[place] = INFINITE, largest
    one, other = (judge_contrasts(made(a=v), Judgement()).table.iloc[0] for v in (infinite, finite))
    assert (one.p, one.verdict) == (other.p, other.verdict)


def test_a_row_that_holds_a_replaced_number_is_not_equivalent() -> None:
    contrasts = made(a=noisy(0.01, 0.1, 10), b=noisy(0.01, 0.1, 10, seed=1))
    contrasts["replaced"] = (contrasts["target"] == "a") & (contrasts["seed"] < 2)
    table = judge_contrasts(contrasts, Judgement(margin=0.5)).table.set_index("target")
    assert table["verdict"].to_dict() == {"a": "open", "b": "equivalent"}
    assert table["replaced"].to_dict() == {"a": 2, "b": 0}


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=2, max_size=7))
def test_judging_does_not_depend_on_the_order_or_the_sign(values: list[float]) -> None:
    forward = judge_contrasts(made(a=values), Judgement(margin=1.0)).table.iloc[0]
    mirrored = judge_contrasts(made(a=[-v for v in values[::-1]]), Judgement(margin=1.0)).table
    assert mirrored.iloc[0].difference == pytest.approx(-forward.difference)
    assert (mirrored.iloc[0].p == forward.p) or (np.isnan(forward.p) and not any(values))


def test_advice_reaches_the_wanted_power_and_not_one_seed_less() -> None:
    n = seeds_to_settle(mean=0.5, sd=1.0, n=5, level=0.05, margin=None)
    assert n is not None
    assert difference_power(0.5, 1.0, n, 0.05) >= 0.8 > difference_power(0.5, 1.0, n - 1, 0.05)
    assert n == 34  # the textbooks' number for d = 0.5, two-sided 5 %, power 80 %


def test_advice_takes_the_shorter_of_two_ways() -> None:
    small = seeds_to_settle(mean=0.0, sd=1.0, n=5, level=0.05, margin=0.5)
    assert small is not None
    assert equivalence_power(0.0, 1.0, small, 0.05, 0.5) >= 0.8
    assert seeds_to_settle(mean=0.001, sd=1.0, n=5, level=0.05, margin=None) is None
    assert seeds_to_settle(mean=0.3, sd=1.0, n=5, level=0.05, margin=0.3) == seeds_to_settle(
        mean=0.3, sd=1.0, n=5, level=0.05, margin=None
    )


def test_advised_seeds_allow_a_p_that_small() -> None:
    n = seeds_to_settle(mean=50.0, sd=1.0, n=3, level=0.05 / 20, margin=None)
    assert n == 10  # 2 / 2^10 is below 0.05 / 20, 2 / 2^9 is not
    assert n < MOST_SEEDS


def test_equivalence_power_agrees_with_simulation() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(0.1, 1.0, size=(4000, 40))
    upper = stats.ttest_1samp(draws, 0.6, axis=1, alternative="less").pvalue
    lower = stats.ttest_1samp(draws, -0.6, axis=1, alternative="greater").pvalue
    simulated = (np.maximum(upper, lower) <= 0.05).mean()
    assert equivalence_power(0.1, 1.0, 40, 0.05, 0.6) == pytest.approx(simulated, abs=0.025)
