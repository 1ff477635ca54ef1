"""The number of seeds that would settle an open verdict, if the observed mean and spread hold.

Two ways out of "open": the difference is shown (two-sided paired t test at the level that Holm
asks first, and enough sign flips for so small a p), or it is shown to lie within the margin (two
one-sided t tests). The fewer seeds of the two are advised. It is a plan, not a promise: the mean
of a few seeds is itself uncertain, and an advice taken from it inherits that.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable

from scipy import stats

from antifragile.analysis.inference.permutation import trials_needed

MOST_SEEDS = 10_000
_FAR = 30.0  # noncentralities beyond it leave no doubt, and lose scipy's series its accuracy


def seeds_to_settle(
    *, mean: float, sd: float, n: int, level: float, margin: float | None, power: float = 0.8
) -> int | None:
    """Total seeds, more than the present ones, at which the verdict should no longer be open.

    Args:
        mean: Mean of the paired differences so far.
        sd: Their standard deviation, above 0.
        n: Seeds so far.
        level: Level of one test, after correction.
        margin: Margin of equivalence; None when none was declared.
        power: Wanted probability of a verdict.

    Returns:
        The number, or None beyond ``MOST_SEEDS``.
    """
    least = max(n + 1, trials_needed(level, paired=True))
    ways = [_fewest(least, power, lambda m: difference_power(mean, sd, m, level))]
    if margin is not None:
        # TOST is a t test, it needs no minimum of sign flips
        ways.append(_fewest(n + 1, power, lambda m: equivalence_power(mean, sd, m, level, margin)))
    return min((way for way in ways if way is not None), default=None)


def difference_power(mean: float, sd: float, n: int, level: float) -> float:
    """Probability that a two-sided paired t test of n differences rejects zero."""
    shift = min(abs(mean) / sd * n**0.5, _FAR)
    bound = stats.t.isf(level / 2, n - 1)
    return _above(bound, n - 1, shift) + _above(bound, n - 1, -shift)


def equivalence_power(mean: float, sd: float, n: int, level: float, margin: float) -> float:
    """Probability that both one-sided t tests against ``margin`` reject (a lower bound)."""
    bound, root = stats.t.isf(level, n - 1), n**0.5 / sd
    below = _above(bound, n - 1, _clipped((margin - mean) * root))
    above = _above(bound, n - 1, _clipped((margin + mean) * root))
    return max(0.0, below + above - 1)


def _above(bound: float, degrees: int, shift: float) -> float:
    """P(t > bound) at a noncentrality; scipy gives NaN for some that are next to 0 or 1."""
    p = float(stats.nct.sf(bound, degrees, shift))
    return float(shift > bound) if math.isnan(p) else p


def _clipped(shift: float) -> float:
    return max(-_FAR, min(shift, _FAR))


def _fewest(least: int, power: float, reached: Callable[[int], float]) -> int | None:
    """The smallest number of seeds from ``least`` with that power; power grows with seeds."""
    high = least
    while not reached(high) >= power:
        if high >= MOST_SEEDS:
            return None
        high = min(2 * high, MOST_SEEDS)
    return bisect_left(range(high), True, lo=least, key=lambda n: reached(n) >= power)
