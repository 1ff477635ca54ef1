"""Sums: whether two layers add to the same columns, as in a residual stream, or gate each other.

What lies behind a sum may bend it: an activation, a norm over a group of channels, or over places.
Three tests each see through some of that, and none is passed by a product:

- *Shift*: one layer's results grow, and the other's shrink by as much. What reads only their sum
  reads the same as before, whatever comes behind the sum.
- *Change*: each layer's results are changed alone, then both. Where two changes add up, number by
  number, a sum is read without a bend, as by a ReLU that is open.
- *Level*: the same with all results set to large levels, far from where an activation bends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from antifragile.model.units.grouping import (
    Influences,
    UnitCandidate,
    columns_by_layer,
    is_copied,
)
from antifragile.model.units.watching.draws import Change, ResultChange
from antifragile.model.units.watching.replay import OtherPath
from antifragile.model.units.watching.runs import WatchedModel
from antifragile.model.units.watching.sources import Mixing

Results = dict[int, ResultChange]

_STEP = 2.0  # of a shift; the drawn results are of size 3 to 9
_FAR = 1000.0  # far from where an activation bends, small enough for float32 to add exactly
_MOVED = 1e-3  # a number that differs by less is not counted as moved
_EQUAL = 1e-3  # of the smaller change
_SHARE = 0.1  # of the numbers that both layers move; a product agrees at single ones by chance


class Sums:
    """Tells which layers add up in the columns of a unit.

    Args:
        watched: The model.
        influences: Those of its sources.
    """

    def __init__(self, watched: WatchedModel, influences: Influences) -> None:
        self._watched, self._influences = watched, influences

    def is_residual(self, member: UnitCandidate) -> bool:
        """Whether two of the layers that write a unit add up.

        A recurrent layer, which reads the unit that it writes at every step, does not count.
        """
        layers = self._layers(member.writers)
        steady = [index for index in layers if not self._is_recurrent(index, member)]
        return any(self._add_up(steady[0], other, member) for other in steady[1:])

    def mixed_beside(self, member: UnitCandidate) -> str | None:
        """Name a layer that adds to a unit's columns though its channels are mixed elsewhere."""
        sources = self._watched.recording.sources
        first = self._layers(member.writers)[0]
        for index, influence in self._influences.items():
            beside = sources[index].is_layer and index not in member.writers
            shares = beside and bool(influence.columns & member.columns)
            if not shares or is_copied(index, self._watched.recording, self._influences):
                continue
            if self._add_up(first, index, member):
                return sources[index].name
        return None

    def _layers(self, writers: Iterable[int]) -> list[int]:
        sources = self._watched.recording.sources
        return [index for index in sorted(writers) if sources[index].is_layer]

    def _is_recurrent(self, layer: int, member: UnitCandidate) -> bool:
        recording = self._watched.recording
        n_calls = sum(mixing.source == layer for mixing in recording.mixing.values())
        return n_calls > 1 and layer in columns_by_layer(member.columns, recording)

    def _add_up(self, one: int, other: int, member: UnitCandidate) -> bool:
        """Whether the results of two layers are added before the unit's columns read them."""
        return any(self._passes(test, member) for test in _tests(one, other, member))

    def _passes(self, test: _Test, member: UnitCandidate) -> bool:
        columns = sorted(member.columns)
        try:
            near, left, right, far = (
                self._watched.numbers_read(columns, Change(results=results))
                for results in (test.near, test.near | test.left, test.near | test.right, test.far)
            )
        except OtherPath:
            return False
        moved = np.minimum(abs(left - near), abs(right - near))
        expected = near if test.cancels else left + right - near
        is_moved = moved > _MOVED
        is_sum = is_moved & (abs(far - expected) <= _EQUAL * moved)
        return bool(is_sum.sum() > _SHARE * is_moved.sum())


@dataclass(frozen=True)
class _Test:
    """Other results of two layers: neither's, those of each, and whether both cancel out."""

    near: Results
    left: Results
    right: Results
    cancels: bool = False

    @property
    def far(self) -> Results:
        """The results with both changes."""
        return self.near | self.left | self.right


def _tests(one: int, other: int, member: UnitCandidate) -> Iterator[_Test]:
    first = member.writers[one][0]
    second = member.writers.get(other, (first,))[0]
    yield _Test({}, {one: _shifted(first, _STEP)}, {other: _shifted(second, -_STEP)}, cancels=True)
    yield _Test({}, {one: _scaled}, {other: _scaled})
    for sign, other_sign in product((_FAR, -_FAR), repeat=2):
        yield _Test(
            {one: _filled(sign), other: _filled(other_sign)},
            {one: _filled(2 * sign)},
            {other: _filled(2 * other_sign)},
        )


def _shifted(channel: int, step: float) -> ResultChange:
    """Return a change that adds to one channel, at every place another number of this size."""

    def shift(value: Tensor, mixing: Mixing) -> Tensor:
        written = [dimension % value.dim() for dimension in mixing.written]
        places = [dimension for dimension in range(value.dim()) if dimension not in written]
        sizes = [value.shape[dimension] for dimension in written]
        part = value.permute(*written, *places)
        for number in np.unravel_index(channel % math.prod(sizes), sizes):
            part = part[int(number)]
        part += step * _uneven(part)
        return value

    return shift


def _scaled(value: Tensor, mixing: Mixing) -> Tensor:
    return value * _uneven(value)


def _filled(level: float) -> ResultChange:
    def fill(value: Tensor, mixing: Mixing) -> Tensor:
        return value.fill_(level)

    return fill


def _uneven(like: Tensor) -> Tensor:
    """Return numbers from 1 to 1.5 in a tensor's shape, each unlike its neighbours."""
    numbers = torch.arange(like.numel(), device=like.device, dtype=torch.float64)
    return (1 + numbers * 0.618 % 1 / 2).to(like.dtype).view(like.shape)
