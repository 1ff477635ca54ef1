"""Corrections of p values: the same as another library's, and NaN stays no test."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from antifragile.analysis.inference.families import corrected

P = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30)


@pytest.mark.parametrize("method", ["holm", "fdr_bh"])
@given(values=P)
def test_they_are_those_of_statsmodels(values: list[float], method: str) -> None:
    found = corrected(pd.Series(values), method=method)
    assert found.to_numpy() == pytest.approx(multipletests(values, method=method)[1], rel=1e-12)


@given(values=P, n_missing=st.integers(0, 3))
def test_missing_ones_are_no_tests(values: list[float], n_missing: int) -> None:
    place = len(values) // 2
    series = pd.Series([*values[:place], *[np.nan] * n_missing, *values[place:]]).sample(frac=1)
    found = corrected(series)
    assert found.index.equals(series.index)
    pd.testing.assert_series_equal(found.dropna(), corrected(series.dropna()))
    assert found.isna().sum() == n_missing


def test_nothing_is_corrected_where_nothing_was_tested() -> None:
    assert corrected(pd.Series([np.nan, np.nan])).isna().all()
    assert corrected(pd.Series(dtype=float)).empty
