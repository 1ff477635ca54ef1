"""Calls of a model's construction that fill its parameters, and whether that can be told.

Two draws of one distribution differ in every number, and still nothing is ablated where the second
is left out. So a call counts where mean, spread or distribution function of the values differ by
more than chance would make them, and where no later call fills the parameter again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from antifragile.ablate.records import SiteKey
from antifragile.ablate.trace.records import Initialisation

Array = np.ndarray[Any, Any]

_DEVIATIONS = 5.0  # of mean and logarithmic spread, in standard errors
_KOLMOGOROV = 2.2  # critical value for a level near 1e-4
_LEAST = 16  # values below which two draws are never told apart


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Values of a parameter at one moment.

    Args:
        values: Some of them, evenly spread.
        is_orthogonal: It is a matrix whose singular values are equal.
    """

    values: Array
    is_orthogonal: bool = False


@dataclass(frozen=True, kw_only=True)
class Fill:
    """One call that wrote values into a parameter.

    Args:
        sites: The call, and the calls that were under way around it.
        holder: The parameter, as an `id` or the address of its storage.
        before: The values before.
        after: The values of the same places after it.
        is_whole: It wrote all of the parameter.
        replaces: The new values do not depend on the old ones.
        is_first: The memory held no values before.
    """

    sites: Collection[SiteKey]
    holder: int
    before: Sample
    after: Sample
    is_whole: bool
    replaces: bool
    is_first: bool


@dataclass
class InitialValues:
    """Notes on how a model's parameters get their values while it is built."""

    fills: list[Fill] = field(default_factory=list)
    unset: set[int] = field(default_factory=set)  # storages of `torch.empty`
    reads: dict[SiteKey, int] = field(default_factory=dict)  # places that read a parameter -> id

    def by_site(self, paths: Mapping[int, tuple[str, ...]]) -> dict[SiteKey, Initialisation]:
        """Tell for each call which parameters start from other values because of it.

        Args:
            paths: Holder of a parameter -> all paths of the parameter.
        """
        fills: dict[tuple[str, ...], list[Fill]] = {}
        for fill in self.fills:
            if fill.holder in paths:
                fills.setdefault(paths[fill.holder], []).append(fill)
        found: dict[SiteKey, Initialisation] = {}
        for names, history in fills.items():
            for site in dict.fromkeys(site for fill in history for site in fill.sites):
                known = found.get(site, Initialisation())
                is_needed, is_told = _judged(history, site)
                found[site] = Initialisation(
                    filled=known.filled + names,
                    told=known.told + (names if is_told else ()),
                    needed=known.needed + (names if is_needed else ()),
                )
        return found


def _judged(history: Sequence[Fill], site: SiteKey) -> tuple[bool, bool]:
    """Whether a parameter would hold no values without a call, and whether others than with it."""
    inside = [place for place, fill in enumerate(history) if site in fill.sites]
    mine = [history[place] for place in inside]
    is_needed = any(fill.is_first for fill in mine)
    if any(fill.is_whole and fill.replaces for fill in history[inside[-1] + 1 :]):
        return is_needed, False
    whole = [fill for fill in mine if fill.is_whole]
    parts = [fill for fill in mine if not fill.is_whole]
    is_told = bool(whole) and not look_alike(whole[0].before, whole[-1].after)
    return is_needed, is_told or any(not look_alike(fill.before, fill.after) for fill in parts)


def look_alike(before: Sample, after: Sample) -> bool:
    """Whether two equally large samples may come from one distribution."""
    if np.array_equal(before.values, after.values):
        return True
    if before.is_orthogonal != after.is_orthogonal:
        return False
    one, two = np.sort(before.values), np.sort(after.values)
    spreads = [float(values.std()) for values in (one, two)]
    if min(spreads) == 0:
        return False  # a constant, and another constant or a draw
    n = one.size
    if n < _LEAST or not (np.isfinite(one).all() and np.isfinite(two).all()):
        return True
    error = math.sqrt((spreads[0] ** 2 + spreads[1] ** 2) / n)
    is_shifted = abs(float(one.mean() - two.mean())) > _DEVIATIONS * error
    is_wider = abs(math.log(spreads[1] / spreads[0])) * math.sqrt(n) > _DEVIATIONS
    return not (is_shifted or is_wider or _distance(one, two) > _KOLMOGOROV * math.sqrt(2 / n))


def is_orthogonal(values: Array) -> bool:
    """Whether the rows, or the columns, of a matrix are of one length and at right angles."""
    if values.ndim < 2 or not np.isfinite(values).all():
        return False
    matrix = values.reshape(len(values), -1).astype(np.float64)
    if min(matrix.shape) < 2:
        return False
    singular = np.linalg.svd(matrix, compute_uv=False)
    return bool(singular[0] > 0 and singular[-1] > (1 - 1e-3) * singular[0])


def _distance(one: Array, two: Array) -> float:
    """The largest distance of two distribution functions; the samples are sorted."""
    points = np.concatenate([one, two])
    steps = [np.searchsorted(values, points, side="right") / values.size for values in (one, two)]
    return float(np.abs(steps[0] - steps[1]).max())
