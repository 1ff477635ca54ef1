"""Sums: whether two layers add to the same columns, as in a residual stream, or gate each other.

Both layers are set to large levels, first one and then the other to twice its level. In a sum the
two changes add up; in a product they do not; a gate that is open or shut does not change at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np

from antifragile.model.units.grouping import Influences, UnitCandidate, is_copied
from antifragile.model.units.watching.replay import OtherPath
from antifragile.model.units.watching.runs import WatchedModel

_FAR = 1000.0  # far from where an activation bends, small enough for float32 to add exactly
_EQUAL = 1e-3  # of the smaller change


class Sums:
    """Tells which layers add up in the columns of a unit.

    Args:
        watched: The model.
        influences: Those of its sources.
    """

    def __init__(self, watched: WatchedModel, influences: Influences) -> None:
        self._watched, self._influences = watched, influences

    def is_residual(self, member: UnitCandidate) -> bool:
        """Whether two of the layers that write a unit add up."""
        first, *others = self._layers(member.writers)
        return any(self._add_up(first, other, member) for other in others)

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

    def _add_up(self, one: int, other: int, member: UnitCandidate) -> bool:
        columns = sorted(member.columns)
        for signs in product((1.0, -1.0), repeat=2):
            level = [sign * _FAR for sign in signs]
            try:
                near, right, left, far = (
                    self._watched.column_sums({one: level[0] * a, other: level[1] * b})[columns]
                    for a, b in ((1, 1), (1, 2), (2, 1), (2, 2))
                )
            except OtherPath:
                continue
            moved = np.minimum(abs(left - near), abs(right - near))
            bent = abs(far - left - right + near)
            if ((moved > _FAR * _EQUAL) & (bent <= _EQUAL * moved)).any():
                return True
        return False
