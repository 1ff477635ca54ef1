"""Other values for a model's inputs, of the same shapes and types, as plausible as those given.

A model whose output stays the same when its inputs change computes nothing from them. Floating
values shrink toward zero, each by a factor of its own, so signs, zeros and bounds stay; integers
are drawn from those that the same tensor holds, so an index stays a valid one. Booleans stay: they
mostly say which positions count.
"""

from __future__ import annotations

import numpy as np

from antifragile.ablate.frameworks.arrays import Array

CHOICES = ("all", "floating")  # which inputs change, the widest choice first
NO_INPUTS = ""
_SEED = 24


def other_values(values: Array, choice: str) -> Array:
    """Other values in place of an input's.

    Args:
        values: The input.
        choice: One of `CHOICES`.
    """
    generator = np.random.Generator(np.random.Philox(_SEED))
    if values.dtype.kind in "fc":
        factors = generator.uniform(0.5, 1.0, values.shape)
        if not values.any():
            return np.asarray(0.1 * factors, values.dtype)
        return np.asarray(values * factors, values.dtype)
    if values.dtype.kind in "iu" and choice == "all" and values.size:
        return np.asarray(generator.choice(values.reshape(-1), values.shape), values.dtype)
    return values
