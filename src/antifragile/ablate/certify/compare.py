"""Comparison of two sets of arrays: bits, and differences beyond what rounding could cause.

A difference counts when bits differ and the relative difference exceeds both a multiple of the
type's rounding unit and a multiple of what rounding alone does to the model: its response when
weights, inputs and all that it computes are moved by one unit in the last place. So a variant that
merely sums in another order is no change, nor is one that rounds otherwise in half precision. A
chaotic model, in which rounding decides the output, shows no change at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from antifragile.ablate.frameworks.arrays import Array, Leaves

ROUNDING_UNITS = 64.0  # below this many, a difference is noise whatever the model
MOST_ROUNDING = 0.05  # however coarse the type
NOISE_MARGIN = 10.0  # times the response to rounding; of a response that is large already, fewer:
LEAST_MARGIN = 4.0
DOUBTFUL_UNITS = 4096.0  # up to so many, a variant's own response to rounding is asked for,
DOUBTFUL_MARGIN = 100.0  # or up to so many times the baseline's
CONSTANT_UNITS = 4.0  # up to this many, a value that should move stands still
MOST_CONSTANT = 1e-3  # however coarse the type
CONSTANT_MARGIN = 2.0  # or up to so many times the response to rounding
VANISHED = 1e-6  # what moves by less of the baseline's size is lost in what it is added to
VANISHED_GRADIENT = 1e-12  # of the baseline's: no optimizer takes a step from it
PART_WORDS = {  # what two runs are compared by
    "evaluation": "the output in evaluation mode",
    "training": "the output in training mode",
    "loss": "the loss",
    "gradients": "the gradients",
    "inputs": "the inputs",
}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Distance between two outputs.

    Args:
        identical: Whether all bits agree.
        relative: Largest difference over the largest magnitude, the worst of the leaves; for
            integers and booleans, the share of elements that differ.
    """

    identical: bool
    relative: float


@dataclass(frozen=True, kw_only=True)
class Response:
    """Distance between the values of one output before and after something else changed.

    Args:
        relative: Largest difference over the largest magnitude.
        absolute: Largest difference.
    """

    relative: float
    absolute: float


def difference(left: Leaves, right: Leaves, least: float = 0.0) -> Difference:
    """Compare leaf by leaf; leaves of other names or shapes count as all different.

    Args:
        left: Arrays by name.
        right: Others.
        least: Leaves of which no value is larger, on both sides, hold nothing but rounding.
    """
    if left.keys() != right.keys():
        return Difference(identical=False, relative=1.0)
    identical, relative = True, 0.0
    for path, one in left.items():
        other = right[path]
        if one.shape != other.shape:
            identical, relative = False, 1.0
        elif one.tobytes() != other.tobytes():
            identical = False
            if not (_is_within(one, least) and _is_within(other, least)):
                relative = max(relative, _relative(one, other))
    return Difference(identical=identical, relative=relative)


def _is_within(values: Array, least: float) -> bool:
    return least > 0 and bool(np.all(np.abs(values) <= least))  # so NaN is not


def are_identical(left: Leaves, right: Leaves) -> bool:
    """Whether two sets of leaves have the same names, types, shapes and bits."""
    return left.keys() == right.keys() and all(
        one.dtype == right[path].dtype
        and one.shape == right[path].shape
        and one.tobytes() == right[path].tobytes()
        for path, one in left.items()
    )


def threshold(unit: float, noise: float) -> float:
    """Relative difference above which a change is believed.

    Args:
        unit: Relative spacing of the coarsest floating type among parameters and outputs.
        noise: Relative response to moving everything by its own rounding.
    """
    response = min(NOISE_MARGIN * noise, max(MOST_ROUNDING, LEAST_MARGIN * noise))
    return max(min(ROUNDING_UNITS * unit, MOST_ROUNDING), response)


def is_doubtful(relative: float, unit: float, noise: float) -> bool:
    """Whether rounding in the variant alone might explain a difference.

    Args:
        relative: The relative difference.
        unit: As in `threshold`.
        noise: The baseline's response to rounding.
    """
    return relative <= max(DOUBTFUL_UNITS * unit, DOUBTFUL_MARGIN * noise)


def still_up_to(unit: float, noise: float) -> float:
    """Relative difference up to which what should move stands still; arguments as above."""
    return max(min(CONSTANT_UNITS * unit, MOST_CONSTANT), CONSTANT_MARGIN * noise)


def moves_much(one: Array, other: Array) -> bool:
    """Whether a floating array moves by more than any doubt, in relation to itself and to one."""
    if one.shape != other.shape:
        return True
    found = response(one, other)
    return found.relative > MOST_ROUNDING and found.absolute > MOST_CONSTANT


def is_clear_gradient(peak: float, largest: float, unit: float) -> bool:
    """Whether a parameter's gradient is more than what rounding leaves of zero.

    Args:
        peak: Its largest absolute value.
        largest: That of all parameters.
        unit: Relative spacing of the coarsest floating type.
    """
    return peak > min(ROUNDING_UNITS * unit, MOST_CONSTANT) * largest


def is_finite(leaves: Leaves) -> bool:
    """Whether no floating leaf holds an infinity or NaN."""
    return all(np.isfinite(leaf).all() for leaf in leaves.values() if leaf.dtype.kind in "fc")


def largest_magnitude(values: Array) -> float:
    """Largest absolute finite value; 0.0 of none."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0))


def response(one: Array, other: Array) -> Response:
    """Distance between two arrays; of other shapes or finite places all has changed."""
    if one.shape != other.shape:
        return _EVERYTHING
    if one.size == 0:
        return _NOTHING
    wide = np.complex128 if "c" in (one.dtype.kind, other.dtype.kind) else np.float64
    a, b = one.astype(wide), other.astype(wide)
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)):
        return _EVERYTHING
    if not finite.any():
        return _NOTHING
    a, b = a[finite], b[finite]
    size = max(float(np.abs(a).max()), float(np.abs(b).max()))
    absolute = float(np.abs(a - b).max())
    return Response(relative=absolute / size if size > 0 else 0.0, absolute=absolute)


_EVERYTHING = Response(relative=1.0, absolute=np.inf)
_NOTHING = Response(relative=0.0, absolute=0.0)


def _relative(one: Array, other: Array) -> float:
    if one.size and (one.dtype.kind not in "fc" or other.dtype.kind not in "fc"):
        return float(np.mean(one != other))
    return response(one, other).relative
