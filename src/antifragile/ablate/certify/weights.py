"""Weights on which baseline and variant are compared: new ones, and ones moved by rounding.

They are drawn by name and apart from every stream of a model, so baseline and variant get the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

import numpy as np

from antifragile.ablate.frameworks.arrays import Array, Leaves, moved

_SEED = 20
_LEAST_SPREAD = 0.5  # of the usual one: what is drawn smaller drowns in rounding a few layers on


def randomised(
    given: Leaves, aliases: Mapping[str, list[str]], *, both_signs: bool = True
) -> Leaves:
    """Draw new values for every parameter, of the same mean and spread; small spreads grow.

    Args:
        given: All values by path.
        aliases: All paths of each parameter, by the first of them.
        both_signs: Turn the sign of every third value of a constant, so that what acts on one sign
            alone is seen.

    Returns:
        The parameters alone; one that has several paths has the same array under each.
    """
    values: Leaves = {}
    for name, paths in aliases.items():
        old = given[name]
        if old.dtype.kind not in "fc" or old.size == 0:
            continue
        seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
        noise = np.random.Generator(np.random.Philox(seed)).standard_normal(old.shape, np.float32)
        new = (old.mean() + _spread(old) * noise).astype(old.dtype)
        if both_signs and old.size > 1 and not np.std(old):
            new.flat[1::3] *= -1
        values |= dict.fromkeys(paths, new)
    return values


def shaken(values: Leaves, unit: float, parameters: Collection[str], salt: int) -> Leaves:
    """Move every parameter up or down by one rounding unit.

    Args:
        values: All values by path.
        unit: Relative spacing of the floating type.
        parameters: Paths of the arrays that move.
        salt: Another salt gives other directions.
    """
    generator = np.random.Generator(np.random.Philox(_SEED + salt))
    return {
        path: moved(value, unit, generator) if path in parameters else value
        for path, value in values.items()
    }


def _spread(values: Array) -> float:
    spread = float(np.std(values))
    fan_in = values.size / values.shape[0] if values.ndim > 1 else 100.0
    usual = float(fan_in**-0.5)  # 0.1 for vectors
    return max(spread, _LEAST_SPREAD * usual) if spread > 0 else usual
