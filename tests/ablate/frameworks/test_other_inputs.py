"""Other inputs are others, and keep what the given ones have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from antifragile.ablate.frameworks.arrays import Array
from antifragile.ablate.frameworks.other_inputs import other_values

RANDOM = np.random.default_rng(0)
UNIFORM = RANDOM.random((5, 5))
NORMAL = RANDOM.normal(size=(5, 4))


def adjacency() -> Array:
    links = np.triu(UNIFORM > 0.4, 1).astype(float)
    return links + links.T + np.eye(5)


def even(values: Array) -> Array:
    """A symmetric matrix whose rows and columns add up to one."""
    found = (values + values.T) / 2
    for _ in range(500):
        found = found / found.sum(1, keepdims=True)
        found = (found + found.T) / 2
    return found


def adds_up(values: Array, axis: int = -1) -> bool:
    return bool(np.allclose(values.sum(axis), 1, atol=1e-3) and (values >= 0).all())


def is_symmetric(values: Array) -> bool:
    return np.allclose(values, values.swapaxes(-1, -2), atol=1e-3)


def has_length_one(values: Array) -> bool:
    return np.allclose(np.linalg.norm(values, axis=-1), 1, atol=1e-3)


def is_sorted(values: Array) -> bool:
    return bool((np.diff(values, axis=-1) >= 0).all())


def is_whole(values: Array) -> bool:
    return bool((values == values.round()).all())


def keeps_zeros(values: Array) -> bool:
    return bool((values[UNIFORM < 0.5] == 0).all())


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("values", "holds"),
    [
        pytest.param(UNIFORM / UNIFORM.sum(1, keepdims=True), adds_up, id="rows add up"),
        pytest.param(UNIFORM / UNIFORM.sum(0), lambda new: adds_up(new, 0), id="columns add up"),
        pytest.param(UNIFORM + UNIFORM.T, is_symmetric, id="symmetric"),
        pytest.param(
            even(UNIFORM), lambda new: is_symmetric(new) and adds_up(new), id="symmetric, adds up"
        ),
        pytest.param(
            NORMAL / np.linalg.norm(NORMAL, axis=1, keepdims=True), has_length_one, id="length one"
        ),
        pytest.param(np.sort(NORMAL, 1), is_sorted, id="in order"),
        pytest.param(np.where(UNIFORM < 0.5, 0, UNIFORM), keeps_zeros, id="zeros stay"),
        pytest.param(UNIFORM, lambda new: bool((new >= 0).all()), id="no value below zero"),
        pytest.param(
            UNIFORM + 12, lambda new: bool((new >= (UNIFORM + 12).min() - 0.02).all()), id="bounds"
        ),
        pytest.param(np.arange(20.0).reshape(4, 5) % 7, is_whole, id="whole numbers"),
        pytest.param(np.eye(5), adds_up, id="one among five"),
        pytest.param(adjacency(), is_whole, id="links"),
        pytest.param(np.ones((3, 4)), lambda new: bool((new > 0).all()), id="ones"),
        pytest.param(np.zeros((3, 4)), lambda new: bool((new > 0).all()), id="zeros alone"),
    ],
)
def test_floating_values_keep_what_they_have_in_common(
    values: Array, holds: Callable[[Array], bool], dtype: type
) -> None:
    given = values.astype(dtype)
    new = other_values(given, "all")
    assert (new.shape, new.dtype) == (given.shape, given.dtype)
    assert not np.array_equal(new, given)
    assert holds(new)
    assert np.array_equal(new, other_values(given, "floating"))


@pytest.mark.parametrize(
    ("values", "holds"),
    [
        pytest.param(np.array([3, 1, 2, 0, 4]), lambda new: set(new) == set(range(5)), id="order"),
        pytest.param(np.array([0, 0, 1, 2, 2, 3]), is_sorted, id="sample of each node"),
        pytest.param(
            np.array([[4, 9, 9], [7, 4, 2]]), lambda new: {*new.flat} <= {2, 4, 7, 9}, id="ids"
        ),
        pytest.param(
            np.array([[1, 1, 0], [1, 0, 0]]),
            lambda new: {*map(tuple, new)} == {(1, 1, 0), (1, 0, 0)},
            id="rows of flags",
        ),
    ],
)
def test_whole_numbers_are_those_given(values: Array, holds: Callable[[Array], bool]) -> None:
    new = other_values(values, "all")
    assert new.dtype == values.dtype
    assert not np.array_equal(new, values)
    assert holds(new)
    assert other_values(values, "floating") is values


def test_flags_stay() -> None:
    flags = UNIFORM > 0.5
    assert other_values(flags, "all") is flags
