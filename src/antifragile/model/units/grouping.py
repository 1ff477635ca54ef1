"""From influences to units: columns that can be cut off together, with all that writes them.

Channels that reach a column in common belong to one unit. The unit's columns are then all that
its channels reach; what writes it are the channels, of any layer, that reach nothing else.

- A channel that is copied to several columns of one layer (the keys and values of grouped-query
  attention) binds these columns together only if nothing else writes each of them apart.
- A layer whose channels all reach the same (behind a layer norm) has no units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from antifragile.model.units.influence import Columns, Influence
from antifragile.model.units.records import RefusedUnits
from antifragile.model.units.watching.sources import Recording

_MIXED = (
    "all its channels are mixed, as by a layer norm, before the next layer reads them, so that "
    "none can be cut off alone"
)

Influences = Mapping[int, Influence]


@dataclass(frozen=True)
class UnitCandidate:
    """A unit before its verification: columns, and the channels that write it, by source."""

    columns: Columns
    writers: Mapping[int, tuple[int, ...]]


def candidates(
    recording: Recording, influences: Influences
) -> tuple[list[UnitCandidate], list[RefusedUnits]]:
    """Join channels and columns to candidates; say which layers give none."""
    found: list[UnitCandidate] = []
    active = _dividing(recording, influences)
    while active:
        whole = []
        joined = _components(active, influences)
        for columns, writers in zip(joined, _written(joined, influences), strict=True):
            if _is_whole(writers, recording):
                whole.append(columns)
                continue
            ordered = {index: tuple(sorted(channels)) for index, channels in writers.items()}
            found.append(UnitCandidate(columns, ordered))
        active = _coarsest_dropped(active, whole, influences)
    found = [
        candidate
        for candidate in found
        if any(recording.sources[source].is_layer for source in candidate.writers)
    ]
    return found, list(_without_units(recording, influences, found))


def _dividing(recording: Recording, influences: Influences) -> list[int]:
    """Layers whose channels tell columns apart, without those that are copied to several."""
    usable = [
        index
        for index, influence in influences.items()
        if recording.sources[index].is_layer
        and influence.blocks
        and not influence.is_mixed
        and not influence.reaches_output
    ]
    copied = [index for index in usable if is_copied(index, recording, influences)]
    apart = [index for index in usable if index not in copied]
    written = frozenset[int]().union(*(influences[index].columns for index in apart))
    return [i for i in usable if i in apart or not influences[i].columns <= written]


def is_copied(index: int, recording: Recording, influences: Influences) -> bool:
    """Whether a layer's channels reach more columns of one layer than it has channels."""
    by_layer = columns_by_layer(influences[index].columns, recording)
    most = max(len(columns) for columns in by_layer.values())
    return most > recording.sources[index].n_outputs


def _components(active: Sequence[int], influences: Influences) -> list[Columns]:
    """Join columns that some channel reaches in common."""
    parent: dict[int, int] = {}

    def root(column: int) -> int:
        while parent.setdefault(column, column) != column:
            parent[column] = parent[parent[column]]
            column = parent[column]
        return column

    for index in active:
        for _, columns in influences[index].blocks:
            first, *rest = sorted(columns)
            for column in rest:
                parent[root(column)] = root(first)
            root(first)
    joined: dict[int, list[int]] = {}
    for column in parent:
        joined.setdefault(root(column), []).append(column)
    return [frozenset(columns) for columns in joined.values()]


def _coarsest_dropped(
    active: Sequence[int], whole: Sequence[Columns], influences: Influences
) -> list[int]:
    """Layers that write only such columns, without the ones that join the most of them."""
    everything = frozenset[int]().union(*whole)
    inside = [index for index in active if influences[index].columns <= everything]
    widest = {
        index: max(len(columns) for _, columns in influences[index].blocks) for index in inside
    }
    limit = max(widest.values(), default=0)
    return [index for index in inside if widest[index] < limit]


def _written(joined: Sequence[Columns], influences: Influences) -> list[dict[int, list[int]]]:
    """List for every set of columns the channels, by source, that write nothing else."""
    owner = {column: place for place, columns in enumerate(joined) for column in columns}
    writers: list[dict[int, list[int]]] = [{} for _ in joined]
    for index, influence in influences.items():
        for channels, reached in influence.blocks:
            places = {owner.get(column) for column in reached}
            place = places.pop()
            if place is not None and not places:
                writers[place].setdefault(index, []).extend(channels)
    return writers


def _is_whole(writers: Mapping[int, Sequence[int]], recording: Recording) -> bool:
    """Whether all channels of a layer that has several are among the writers."""
    sources = recording.sources
    return any(
        sources[index].is_layer and len(channels) == sources[index].n_outputs > 1
        for index, channels in writers.items()
    )


def _without_units(
    recording: Recording, influences: Influences, found: Sequence[UnitCandidate]
) -> Iterator[RefusedUnits]:
    """Name the layers that write no candidate, with the reason."""
    names = {recording.sources[i].name for candidate in found for i in candidate.writers}
    cut = frozenset[int]().union(*(candidate.columns for candidate in found))
    for index, source in enumerate(recording.sources):
        influence = influences.get(index)
        if source.name in names or (influence is None and not source.is_convolution):
            continue
        if influence is None:
            if any(one.name == source.name for one in recording.sources[index + 1 :]):
                continue  # another dimension of it comes
            reason = _MIXED
        elif not (source.is_layer or source.is_convolution):
            continue
        elif influence.takes_other_path:
            reason = "the model takes another way through its layers when its values change"
        elif not influence.blocks:
            continue  # an output layer, or one that nothing reads
        elif influence.columns <= cut and not influence.is_mixed:
            continue  # shared by several units, as keys and values of grouped queries
        elif influence.reaches_output:
            reason = "it is read by other layers, and is also an output of the model"
        else:
            reason = _MIXED
        yield RefusedUnits(source.name, reason)


def columns_by_layer(columns: Columns, recording: Recording) -> dict[int, list[int]]:
    """Split columns into those of each layer, numbered from its first."""
    starts = recording.starts
    found: dict[int, list[int]] = {}
    for column in sorted(columns):
        layer = int(np.searchsorted(starts, column, side="right")) - 1
        found.setdefault(layer, []).append(column - int(starts[layer]))
    return found
