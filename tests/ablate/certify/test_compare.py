"""A difference counts only above rounding, and every kind of array can differ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from antifragile.ablate.certify.compare import (
    MOST_ROUNDING,
    are_identical,
    difference,
    is_finite,
    threshold,
)

EPSILON = float(np.finfo(np.float32).eps)
FLOATS = arrays_of.arrays(np.float32, arrays_of.array_shapes(), elements=st.floats(width=32))


@given(FLOATS)
def test_an_array_does_not_differ_from_itself(array: np.ndarray) -> None:
    found = difference({"x": array}, {"x": array.copy()})
    assert (found.identical, found.relative) == (True, 0.0)


@pytest.mark.parametrize(
    ("one", "other", "relative"),
    [
        ([1.0, 2.0], [1.0, 4.0], 0.5),
        ([0.0, 0.0], [0.0, 1e-30], 1.0),
        ([1.0, np.inf], [1.0, np.inf], 0.0),
        ([1.0, np.nan], [1.0, 2.0], 1.0),
        ([1.0], [1.0, 1.0], 1.0),
    ],
)
def test_relative_difference(one: list[float], other: list[float], relative: float) -> None:
    assert difference({"x": np.array(one)}, {"x": np.array(other)}).relative == relative


def test_integers_differ_by_their_share() -> None:
    found = difference({"x": np.array([1, 2, 3, 4])}, {"x": np.array([1, 2, 3, 5])})
    assert (found.identical, found.relative) == (False, 0.25)


def test_the_sign_of_zero_differs_in_bits_and_not_in_size() -> None:
    found = difference({"x": np.array([0.0])}, {"x": np.array([-0.0])})
    assert (found.identical, found.relative) == (False, 0.0)


@pytest.mark.parametrize(
    ("other", "identical"),
    [
        ({"x": np.zeros(2, np.float32)}, True),
        ({"x": -np.zeros(2, np.float32)}, False),
        ({"x": np.zeros(2, np.int32)}, False),
        ({"x": np.zeros((2, 1), np.float32)}, False),
        ({"y": np.zeros(2, np.float32)}, False),
        ({}, False),
    ],
)
def test_identical_are_names_types_shapes_and_bits(
    other: dict[str, np.ndarray], identical: bool
) -> None:
    assert are_identical({"x": np.zeros(2, np.float32)}, other) is identical


def test_other_names_are_another_structure() -> None:
    assert difference({"x": np.ones(1)}, {"y": np.ones(1)}).relative == 1.0


def test_the_threshold_follows_type_and_noise() -> None:
    assert threshold(EPSILON, 0.0) == 64 * EPSILON
    assert threshold(EPSILON, 1e-4) == pytest.approx(1e-3)
    assert threshold(EPSILON, 0.01) == MOST_ROUNDING
    assert threshold(EPSILON, 0.5) == 2.0


@pytest.mark.parametrize(("value", "finite"), [(1.0, True), (np.nan, False), (-np.inf, False)])
def test_finite(value: float, finite: bool) -> None:
    assert is_finite({"x": np.array([value]), "n": np.array([1])}) is finite


def test_gradients_that_are_rounding_alone_do_not_drown_the_others() -> None:
    left = {"key.bias": np.array([1e-9]), "value.weight": np.array([1.0])}
    right = {"key.bias": np.array([-2e-9]), "value.weight": np.array([1.5])}
    assert difference(left, right).relative == 1.5
    assert difference(left, right, 1e-6).relative == pytest.approx(1 / 3)
    assert difference(left, {**left, "key.bias": np.array([1e-3])}, 1e-6).relative > 0.9
    assert difference(left, {**left, "key.bias": np.array([np.nan])}, 1e-6).relative == 1.0
