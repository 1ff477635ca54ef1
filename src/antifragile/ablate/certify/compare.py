"""Comparison of two sets of arrays: bits, and differences beyond what rounding could cause.

A difference counts when bits differ and the relative difference exceeds both a multiple of the
type's rounding unit and a multiple of the baseline's own response when all its parameters are
moved by one rounding unit. So a variant that merely sums in another order is no change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from antifragile.ablate.frameworks.arrays import Array, Leaves

ROUNDING_UNITS = 64.0  # below this many, a difference is noise whatever the model
NOISE_MARGIN = 10.0  # times the response of the baseline to moving its parameters by one unit
CONSTANT_UNITS = 4.0  # up to this many, a value that should move stands still
MOST_CONSTANT = 1e-3  # however coarse the type
MOST_THRESHOLD = 0.05  # a chaotic model must still be able to show a change
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


def difference(left: Leaves, right: Leaves) -> Difference:
    """Compare leaf by leaf; leaves of other names or shapes count as all different."""
    if left.keys() != right.keys():
        return Difference(identical=False, relative=1.0)
    identical, relative = True, 0.0
    for path, one in left.items():
        other = right[path]
        if one.shape != other.shape:
            identical, relative = False, 1.0
        elif one.tobytes() != other.tobytes():
            identical = False
            relative = max(relative, _relative(one, other))
    return Difference(identical=identical, relative=relative)


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
        unit: Relative spacing of the coarsest floating type involved.
        noise: Relative response of the baseline to moving its parameters by one such unit.
    """
    return min(max(ROUNDING_UNITS * unit, NOISE_MARGIN * noise), MOST_THRESHOLD)


def stands_still(one: Array, other: Array, unit: float) -> bool:
    """Whether a floating array stays what it was, up to a few rounding units."""
    return one.shape == other.shape and _relative(one, other) <= min(
        CONSTANT_UNITS * unit, MOST_CONSTANT
    )


def moves(one: Array, other: Array, unit: float) -> bool:
    """Whether a floating array moves by clearly more than rounding could."""
    return one.shape != other.shape or _relative(one, other) > threshold(unit, 0.0)


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


def _relative(one: Array, other: Array) -> float:
    if one.size == 0:
        return 0.0
    if one.dtype.kind not in "fc" or other.dtype.kind not in "fc":
        return float(np.mean(one != other))
    wide = np.complex128 if "c" in (one.dtype.kind, other.dtype.kind) else np.float64
    a, b = one.astype(wide), other.astype(wide)
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)):
        return 1.0
    if not finite.any():
        return 0.0
    a, b = a[finite], b[finite]
    scale = max(float(np.abs(a).max()), float(np.abs(b).max()))
    return float(np.abs(a - b).max()) / scale if scale > 0 else 0.0
