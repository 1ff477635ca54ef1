"""Permutation tests of a difference in means, exact where all rearrangements can be counted.

Two-sample: every split of the n + m pooled values (10 against 10: 184,756). Paired: every choice
of signs of the n differences. Both count the rearrangements whose absolute difference in means is
at least the observed one; beyond ``EXACT_LIMIT`` rearrangements a stated number is drawn instead,
and the observed one counts as one of them.

`scipy.stats.permutation_test` does the same for one comparison; here one matrix of splits serves
all comparisons of a study at once (490 of 10 against 10 take a second or two, not a minute).

Shapes: C comparisons, R rearrangements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

EXACT_LIMIT = 200_000
MONTE_CARLO = 100_000
_SEED = 0  # of drawn rearrangements: the same trials give the same p
_EPSILON = 1e-9  # of a difference in percent: sums in another order differ in the last bits
_CHUNK = 16  # comparisons at once: R x _CHUNK floats


@dataclass(frozen=True, kw_only=True)
class Design:
    """The rearrangements that a test counts.

    Args:
        n: Trials of the mode.
        n_control: Trials of the control, the same ones when paired.
        paired: Sign flips of differences instead of splits of the pooled trials.
        n_monte_carlo: Rearrangements drawn when there are too many to count.
    """

    n: int
    n_control: int
    paired: bool
    n_monte_carlo: int = MONTE_CARLO

    @property
    def n_rearrangements(self) -> int:
        """Number of rearrangements."""
        return 2**self.n if self.paired else math.comb(self.n + self.n_control, self.n)

    @property
    def is_exact(self) -> bool:
        """Tell whether all of them are counted."""
        return self.n_rearrangements <= EXACT_LIMIT

    @property
    def smallest_p(self) -> float:
        """The smallest two-sided p this test can give, when no two values are equal."""
        return max(smallest_exact_p(self), 0.0 if self.is_exact else 1 / (self.n_monte_carlo + 1))

    @property
    def words(self) -> str:
        """The test in words."""
        kind = "paired sign-flip" if self.paired else "permutation"
        if self.is_exact:
            return f"{kind}, exact"
        return f"{kind}, {self.n_monte_carlo:,} random of {self.n_rearrangements:.2g}"


def smallest_exact_p(design: Design) -> float:
    """Smallest two-sided p over all rearrangements; the mirror image counts where there is one."""
    mirrored = design.paired or design.n == design.n_control
    return min(1.0, (2 if mirrored else 1) / design.n_rearrangements)


def trials_needed(threshold: float, *, paired: bool) -> int:
    """Trials per mode (equal in both arms) at which an exact test can go down to ``threshold``."""
    n = 2
    while smallest_exact_p(Design(n=n, n_control=n, paired=paired)) > threshold:
        n += 1
    return n


def paired_p(differences: np.ndarray, *, design: Design) -> np.ndarray:
    """Two-sided p of a mean difference of zero by flipping signs.

    Args:
        differences: (C, n) mode minus control, percent.
        design: Number of values, and of rearrangements to draw.

    Returns:
        (C,) p values.
    """
    signs = _signs(design)  # (R, n)
    observed = np.abs(differences.sum(axis=1))  # (C,)
    return _tail(signs, differences, observed, design)


def two_sample_p(values: np.ndarray, control: np.ndarray, *, design: Design) -> np.ndarray:
    """Two-sided p of equal means by splitting the pooled values anew.

    Args:
        values: (C, n) trials of the mode, percent.
        control: (C, m) trials of the control.
        design: Numbers of values, and of rearrangements to draw.

    Returns:
        (C,) p values.
    """
    pooled = np.concatenate([values, control], axis=1)  # (C, n + m)
    pooled = pooled - pooled.mean(axis=1, keepdims=True)  # then the sum of one part says it all
    observed = np.abs(pooled[:, : design.n].sum(axis=1))
    return _tail(_splits(design), pooled, observed, design)


def _tail(
    rearrangements: np.ndarray, values: np.ndarray, observed: np.ndarray, design: Design
) -> np.ndarray:
    """Share of rearrangements whose sum is at least as far from zero as the observed one."""
    tails = np.empty(len(values))
    for start in range(0, len(values), _CHUNK):
        part = slice(start, start + _CHUNK)
        sums = np.abs(rearrangements @ values[part].T)  # (R, chunk)
        tails[part] = (sums >= observed[part] - _EPSILON * values.shape[1]).sum(axis=0)
    if design.is_exact:
        return tails / len(rearrangements)
    return (tails + 1) / (len(rearrangements) + 1)


@lru_cache(maxsize=4)
def _splits(design: Design) -> np.ndarray:
    """(R, n + m) ones where a pooled value goes to the mode."""
    total = design.n + design.n_control
    if design.is_exact:
        chosen = np.array(list(combinations(range(total), design.n)))
    else:
        order = np.random.default_rng(_SEED).random((design.n_monte_carlo, total))
        chosen = np.argsort(order, axis=1)[:, : design.n]
    splits = np.zeros((len(chosen), total))
    np.put_along_axis(splits, chosen, 1.0, axis=1)
    return splits


@lru_cache(maxsize=4)
def _signs(design: Design) -> np.ndarray:
    """(R, n) of -1 and 1."""
    if design.is_exact:
        bits = (np.arange(2**design.n)[:, None] >> np.arange(design.n)) & 1
    else:
        bits = np.random.default_rng(_SEED).integers(0, 2, (design.n_monte_carlo, design.n))
    return np.asarray(2.0 * bits - 1.0)
