"""Types of the arrays that cross from a framework to us."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Leaves = dict[str, Array]  # the arrays and numbers of a nested value, by path
GradientArrays = dict[str, Array | None]  # by name; None where there is none
