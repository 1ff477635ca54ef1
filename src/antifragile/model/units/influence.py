"""Influences: which columns every channel of every layer reaches, by few runs of the model.

The channels of one layer are numbered in binary. For every binary digit the model runs twice, with
the channels changed whose digit is 1, and with those whose digit is 0. A column that only one
channel reaches spells that channel's number; 2 * log2(n) runs find all of n channels. Where a
column is reached by several (the queries of an attention head, a norm over groups), runs of
neighbouring channels are widened until they reach something else. A layer whose channels all reach
the same is found by three runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from antifragile.model.units.watching.replay import OtherPath
from antifragile.model.units.watching.runs import Reached
from antifragile.model.units.watching.sources import Recording

Columns = frozenset[int]
Reach = Callable[[Sequence[int]], Reached]
"""Runs the model with these channels of a source changed."""


@dataclass(frozen=True)
class Influence:
    """Columns that the channels of one source reach.

    Args:
        blocks: Channels that reach the same columns, and these columns; dead channels in none.
        reaches_output: Whether any channel reaches the model's outputs past all layers.
        is_mixed: Whether its channels, more than one, all reach the same columns.
        takes_other_path: Whether other values of it made the model make other calls.
    """

    blocks: list[tuple[list[int], Columns]] = field(default_factory=list)
    reaches_output: bool = False
    is_mixed: bool = False
    takes_other_path: bool = False

    @property
    def columns(self) -> Columns:
        """All columns that any channel reaches."""
        return frozenset().union(*(columns for _, columns in self.blocks))


def find_influence(n_channels: int, reach: Reach) -> Influence:
    """Find what each of a source's channels reaches."""
    everything = list(range(n_channels))
    try:
        whole = reach(everything)
        columns, output = whole.columns, bool(whole.outputs.any())
        if not columns.any():
            return Influence(reaches_output=output)
        if n_channels == 1:
            return Influence([([0], _numbers(columns))], reaches_output=output)
        if _reach_the_same(n_channels, columns, reach):
            block = (everything, _numbers(columns))
            return Influence([block], reaches_output=output, is_mixed=True)
        blocks = _spelled(n_channels, columns, reach)
        if blocks is None:
            blocks = _widened(n_channels, reach)
    except OtherPath:
        return Influence(takes_other_path=True)
    return Influence(blocks, reaches_output=output)


def _reach_the_same(n_channels: int, columns: np.ndarray, reach: Reach) -> bool:
    """Whether the first, the middle and the last channel each reach all that any reaches."""
    tried = sorted({0, n_channels // 2, n_channels - 1})
    return all(bool((reach([channel]).columns == columns).all()) for channel in tried)


def _spelled(
    n_channels: int, columns: np.ndarray, reach: Reach
) -> list[tuple[list[int], Columns]] | None:
    """Read every column's channel from its binary digits; None if a column has several."""
    channels = np.arange(n_channels)
    number = np.zeros(columns.shape, dtype=np.int64)
    for digit in range(int(n_channels - 1).bit_length()):
        is_one = (channels >> digit) & 1 == 1
        ones = reach(channels[is_one].tolist()).columns
        zeros = reach(channels[~is_one].tolist()).columns
        if (ones[columns] == zeros[columns]).any():
            return None
        number += np.where(ones, 1 << digit, 0)
    if (number[columns] >= n_channels).any():
        return None
    found: dict[int, list[int]] = {}
    for column in np.flatnonzero(columns).tolist():
        found.setdefault(int(number[column]), []).append(column)
    return [([channel], frozenset(found[channel])) for channel in sorted(found)]


def _widened(n_channels: int, reach: Reach) -> list[tuple[list[int], Columns]]:
    """Find runs of neighbouring channels that reach the same columns."""
    found: dict[Columns, list[int]] = {}
    first = 0
    while first < n_channels:
        columns = _numbers(reach([first]).columns)
        end, step = first + 1, 1
        while step and end < n_channels:
            wider = min(end + step, n_channels)
            if _numbers(reach(list(range(end, wider))).columns) <= columns:
                end, step = wider, step * 2
            else:
                step //= 2
        if columns:
            found.setdefault(columns, []).extend(range(first, end))
        first = end
    return [(channels, columns) for columns, channels in found.items()]


def _numbers(flags: np.ndarray) -> Columns:
    return frozenset(np.flatnonzero(flags).tolist())


def find_influences(recording: Recording, reach_of: Callable[[int], Reach]) -> dict[int, Influence]:
    """Find the influence of every source; of a parameter between layers, along one dimension.

    Args:
        recording: The first run's.
        reach_of: Gives the runs for a source.
    """
    found: dict[int, Influence] = {}
    dimensions: dict[str, list[int]] = {}
    for index, source in enumerate(recording.sources):
        if source.is_layer:
            found[index] = find_influence(source.n_outputs, reach_of(index))
        else:
            dimensions.setdefault(source.name, []).insert(0, index)
    for indices in dimensions.values():
        tried = {
            index: find_influence(recording.sources[index].n_outputs, reach_of(index))
            for index in indices
        }
        if (best := _channels_of(tried)) is not None:
            found[best] = tried[best]
    return found


def _channels_of(tried: Mapping[int, Influence]) -> int | None:
    """Choose the dimension of a parameter whose places reach columns apart; None if none does.

    A position embedding has positions along one dimension, and channels along another.
    """
    for index, influence in tried.items():
        columns = [column for _, reached in influence.blocks for column in reached]
        if not influence.is_mixed and len(columns) == len(set(columns)):
            return index
    only = list(tried)
    return only[0] if len(only) == 1 and not tried[only[0]].is_mixed else None
