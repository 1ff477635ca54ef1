"""Arrays that cross from a framework to us: their types, and what rounding may do to them."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Leaves = dict[str, Array]  # the arrays and numbers of a nested value, by path
GradientArrays = dict[str, Array | None]  # by name; None where there is none


def moved(values: Array, unit: float, generator: np.random.Generator) -> Array:
    """Move each floating value up or down by one rounding unit.

    Args:
        values: The values.
        unit: Relative spacing of their type.
        generator: Draws the directions.
    """
    if values.dtype.kind not in "fc":
        return values
    directions = generator.choice((-1.0, 1.0), values.shape)
    return np.asarray(values * (1 + unit * directions).astype(values.real.dtype))


def whole_steps(before: Array | None, after: Array) -> int:
    """The whole number by which a tensor moved at most, as a counter does; 0 of others."""
    if before is None or before.shape != after.shape or after.dtype.kind not in "iuf":
        return 0
    step = float(np.abs(after.astype(np.float64) - before).max(initial=0.0))
    return int(step) if step.is_integer() else 0
