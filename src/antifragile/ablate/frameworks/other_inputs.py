"""Other values for a model's inputs, of the same shapes and types, as plausible as those given.

A model whose output stays the same when its inputs change computes nothing from them. Floating
values shrink toward the smallest, each by a factor of its own, so signs, zeros and bounds stay;
whole numbers are drawn from those that the same tensor holds, so an index stays a valid one.
Booleans stay: they mostly say which positions count.

What the given values have in common, the new ones have too, as far as it is measured here: a
symmetric matrix, rows or columns that add up to one or have length one, an order. A model that was
given a normalised adjacency is not told to work with another matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from antifragile.ablate.frameworks.arrays import Array

CHOICES = ("all", "floating")  # which inputs change, the widest choice first
NO_INPUTS = ""
_SEED = 24
_ROUNDS = 200  # of putting several properties back in turn
_MEASURED = 0.01  # relative: bfloat16 holds no more digits
_RESTORED = 1e-6
_Property = Callable[[Array], Array]  # puts new values back to where they have the property


def other_values(values: Array, choice: str) -> Array:
    """Other values in place of an input's.

    Args:
        values: The input.
        choice: One of `CHOICES`.
    """
    generator = np.random.Generator(np.random.Philox(_SEED))
    if values.dtype.kind in "iu" and choice == "all" and values.size:
        return _drawn(values, generator)
    if values.dtype.kind not in "fc" or not values.size:
        return values
    if _is_whole(values):
        return _drawn(values, generator)
    if values.dtype.kind == "c" or not np.isfinite(values).all():
        return np.asarray(values * generator.uniform(0.5, 1.0, values.shape), values.dtype)
    return _with_properties(values, _shrunk(values, generator))


def _drawn(values: Array, generator: np.random.Generator) -> Array:
    """Draw from the values themselves; an order is kept, and so are rows of flags."""
    flat = values.reshape(-1)
    kinds = len(np.unique(flat))
    if kinds <= 2 and values.ndim > 1 and len(values) > 1:  # one among others: rows change places
        return np.roll(values, 1, 0)
    ordered = [axis for axis in range(values.ndim) if _is_ordered(values, axis)]
    if kinds == flat.size and not ordered:
        return np.asarray(generator.permutation(flat).reshape(values.shape), values.dtype)
    new = generator.choice(flat, values.shape)
    for axis in ordered:
        new = np.sort(new, axis)
    return np.asarray(new, values.dtype)


def _shrunk(values: Array, generator: np.random.Generator) -> Array:
    """Shrink each value by a factor of its own toward the smallest of its sign, or toward zero."""
    factors = generator.uniform(0.5, 1.0, values.shape)
    if not values.any():
        return np.asarray(0.1 * factors)
    low, high = float(values.min()), float(values.max())
    least = low if 0 < low < high else high if low < high < 0 else 0.0
    return np.asarray(least + (values - least) * factors)


def _with_properties(values: Array, new: Array) -> Array:
    """Give new values the properties of the old ones; where they can't, old ones change places."""
    properties = list(_properties(values.astype(np.float64)))
    for _ in range(_ROUNDS if len(properties) > 1 else len(properties)):
        for restored in properties:
            new = restored(new)
    if all(_are_close(restored(new), new, _RESTORED) for restored in properties):
        return np.asarray(new, values.dtype)
    return np.roll(values, 1, (-2, -1) if _mirrored in properties else 0)


def _properties(values: Array) -> Iterator[_Property]:
    """Yield what puts the properties that some values have back into others."""
    is_square = values.ndim > 1 and values.shape[-1] == values.shape[-2] > 1
    if is_square and _are_close(values, values.swapaxes(-1, -2)):
        yield _mirrored
    for axis in range(values.ndim):
        if values.shape[axis] < 2:
            continue
        if (values >= 0).all() and _all_one(values.sum(axis)):
            yield partial(_adding_up, axis=axis)
        elif _all_one(np.linalg.norm(values, axis=axis)):
            yield partial(_of_length_one, axis=axis)
        if _is_ordered(values, axis):
            yield partial(np.sort, axis=axis)


def _mirrored(values: Array) -> Array:
    return np.asarray((values + values.swapaxes(-1, -2)) / 2)


def _adding_up(values: Array, axis: int) -> Array:
    return np.asarray(values / values.sum(axis, keepdims=True))


def _of_length_one(values: Array, axis: int) -> Array:
    return np.asarray(values / np.linalg.norm(values, axis=axis, keepdims=True))


def _is_whole(values: Array) -> bool:
    """Whether floating values are whole numbers, and more than one."""
    if (
        values.dtype.kind == "c"
        or not np.isfinite(values).all()
        or (values == values.flat[0]).all()
    ):
        return False
    return bool((values == np.round(values)).all())


def _is_ordered(values: Array, axis: int) -> bool:
    """Whether at least three values along an axis never fall, and do not all stay the same."""
    if values.shape[axis] < 3:
        return False
    steps = np.diff(values, axis=axis) if values.dtype.kind == "f" else _steps(values, axis)
    return bool((steps >= 0).all() and steps.any())


def _steps(values: Array, axis: int) -> Array:
    return np.diff(values.astype(np.int64), axis=axis)


def _all_one(values: Array) -> bool:
    return _are_close(values, np.ones_like(values))


def _are_close(one: Array, other: Array, tolerance: float = _MEASURED) -> bool:
    size = float(np.abs(other).max(initial=0.0))
    largest = float(np.abs(one - other).max(initial=0.0))
    return bool(np.isfinite(one).all()) and largest <= tolerance * size
