"""Records of units: what each writes and reads, and which layers have none, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from antifragile.model.units.views import Entries, Index, WeightView, empty_masks


class UnitKind(StrEnum):
    """Kinds of units.

    NEURON: one output of a linear or recurrent layer, or of a gated pair of them.
    CHANNEL: a convolution's channel with its norm, or the channels that one norm group joins.
    HEAD: an attention head; of grouped-query attention a query head.
    RESIDUAL: a channel of a residual stream, with all layers that add to it.
    OUTPUT: one of the model's outputs.
    """

    NEURON = "neuron"
    CHANNEL = "channel"
    HEAD = "head"
    RESIDUAL = "residual"
    OUTPUT = "output"


@dataclass(frozen=True)
class Part:
    """The rows or columns of one parameter that belong to a unit."""

    view: WeightView
    numbers: tuple[int, ...]
    is_row: bool

    def put(self, tensor: Tensor, value: float | bool) -> None:
        """Set these entries of a tensor with the parameter's layout."""
        self.view.put(tensor, self._index, value)

    def values(self, tensor: Tensor) -> Tensor:
        """Return these entries of a tensor with the parameter's layout."""
        return self.view.get(tensor, self._index)

    @property
    def _index(self) -> Index:
        return self.view.rows(self.numbers) if self.is_row else self.view.columns(self.numbers)


@dataclass(frozen=True)
class Unit:
    """One unit: the entries that write it and the entries that read it.

    Args:
        layer: Name of the layer that writes it first.
        number: 0-based, among the units of its group.
        incoming: Rows of weights, biases and norms.
        outgoing: Columns of the weights that read it; empty for an output.
    """

    layer: str
    number: int
    incoming: tuple[Part, ...]
    outgoing: tuple[Part, ...]

    @property
    def name(self) -> str:
        """Layer and number, for example ``layers.0[3]``."""
        return f"{self.layer}[{self.number}]"

    def entries(self, parameters: Mapping[str, Tensor]) -> Entries:
        """Mark the entries, incoming and outgoing, of every parameter that has some."""
        return masks(parameters, (*self.incoming, *self.outgoing))


@dataclass(frozen=True)
class UnitGroup:
    """The units of the same layers.

    Args:
        layer: Name of the layer that writes them first.
        kind: Their kind.
        units: One by one.
        writers: Names of all layers that write them.
        readers: Names of all layers that read them.
    """

    layer: str
    kind: UnitKind
    units: tuple[Unit, ...]
    writers: tuple[str, ...]
    readers: tuple[str, ...]


@dataclass(frozen=True)
class RefusedUnits:
    """A layer whose channels are no units, and the reason, as a clause."""

    layer: str
    reason: str


@dataclass(frozen=True)
class UnitTable:
    """The units of a model.

    Args:
        groups: Verified groups, in the order in which the model calls their layers.
        refused: Layers without units.
    """

    groups: tuple[UnitGroup, ...]
    refused: tuple[RefusedUnits, ...]

    def of_kinds(self, *kinds: UnitKind) -> Sequence[UnitGroup]:
        """Return the groups of these kinds."""
        return [group for group in self.groups if group.kind in kinds]


def masks(parameters: Mapping[str, Tensor], parts: Sequence[Part]) -> dict[str, Tensor]:
    """Mark the entries of some parts, in masks of the parameters' shapes."""
    marked = empty_masks(parameters, {part.view.parameter for part in parts})
    for part in joined(parts):
        part.put(marked[part.view.parameter], True)
    return marked


def joined(parts: Sequence[Part]) -> list[Part]:
    """Join parts of the same view, so that their entries are set in one step."""
    numbers: dict[tuple[int, bool], set[int]] = {}
    views: dict[int, WeightView] = {}
    for part in parts:
        views[id(part.view)] = part.view
        numbers.setdefault((id(part.view), part.is_row), set()).update(part.numbers)
    return [
        Part(views[view], tuple(sorted(found)), is_row) for (view, is_row), found in numbers.items()
    ]


@torch.no_grad()
def ablate_unit(parameters: Mapping[str, Tensor], unit: Unit, *, outgoing: bool = True) -> None:
    """Zero a unit's entries in place.

    Args:
        parameters: The model's parameters by name.
        unit: One of its units.
        outgoing: Zero the weights that read it, too.
    """
    for part in (*unit.incoming, *(unit.outgoing if outgoing else ())):
        part.put(parameters[part.view.parameter], 0)
