"""Agreement of two measurements of the same targets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from antifragile.analysis.inference.rank_agreement import rank_agreement

SEEDS, TARGETS = range(8), list("abcde")


def measured(worth: list[float], *, noise: float, seed: int) -> pd.DataFrame:
    drawn = np.random.default_rng(seed).normal(size=(len(SEEDS), len(worth)))
    return pd.DataFrame(np.array(worth) + noise * drawn, index=SEEDS, columns=TARGETS[: len(worth)])


def test_it_is_spearmans_correlation_of_the_means_with_an_interval() -> None:
    one, two = (measured([1.0, 2.0, 2.2, 2.4, 9.0], noise=0.5, seed=seed) for seed in (1, 2))
    found = rank_agreement(one, two)
    assert found is not None
    assert found.rho == pytest.approx(stats.spearmanr(one.mean(), two.mean()).statistic)
    assert found.low <= found.rho <= found.high
    assert found.n_targets == 5


def test_only_common_targets_and_seeds_count() -> None:
    one, two = (measured([1.0, 2.0, 3.0, 4.0], noise=0.0, seed=seed) for seed in (1, 2))
    found = rank_agreement(one.drop(columns="a"), -two.drop(index=0))
    assert found is not None
    assert (found.rho, found.low, found.high, found.n_targets) == (-1, -1, -1, 3)


def test_too_little_in_common_is_none() -> None:
    one = measured([1.0, 2.0, 3.0], noise=0.1, seed=1)
    assert rank_agreement(one, one.drop(columns="a")) is None
    assert rank_agreement(one, one.set_axis(range(10, 18))) is None
