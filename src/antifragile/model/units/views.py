"""Parameters as a layer reads them: rows that write a channel, columns that read one.

A call such as a linear layer reads a parameter through a strided view, perhaps transposed, a
slice of a fused weight, or shared with another layer. `WeightView` keeps the strides, so that rows
and columns are zeroed in the parameter itself, whatever its layout.

Shape letters: G groups, O outputs of a group, I inputs of a group, K kernel positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class WeightView:
    """A parameter seen as (G, O, I, *K); output channel g * O + o, input column g * I + i.

    Args:
        parameter: Its name in ``model.named_parameters()``.
        size: (G, O, I, *K).
        stride: Strides of these dimensions in the parameter's storage.
        offset: Elements from the parameter's first element to the view's first.
    """

    parameter: str
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int = 0

    @property
    def n_outputs(self) -> int:
        """Number of output channels, G * O."""
        return self.size[0] * self.size[1]

    @property
    def n_inputs(self) -> int:
        """Number of input columns, G * I."""
        return self.size[0] * self.size[2]

    def of(self, tensor: Tensor) -> Tensor:
        """View a tensor of the parameter's layout as (G, O, I, *K), without its gradient."""
        start = tensor.storage_offset() + self.offset
        return torch.as_strided(tensor.detach(), self.size, self.stride, start)

    def put(self, tensor: Tensor, index: Index, value: float | bool) -> None:
        """Set entries of a tensor of the parameter's layout.

        Args:
            tensor: The parameter, a mask of it, or a copy.
            index: Entries, by `rows` or `columns`.
            value: The number they become.
        """
        self.of(tensor)[index] = value

    def get(self, tensor: Tensor, index: Index) -> Tensor:
        """Return entries of a tensor of the parameter's layout."""
        return self.of(tensor)[index]

    def any(self, mask: Tensor) -> bool:
        """Whether a mask of the parameter marks an entry that is read through this view."""
        return bool(self.of(mask).any())

    def rows(self, channels: Iterable[int]) -> Index:
        """Index of the entries that write these output channels."""
        group, output = _split(channels, self.size[1])
        return (group, output)

    def columns(self, columns: Iterable[int]) -> Index:
        """Index of the entries that read these input columns."""
        group, column = _split(columns, self.size[2])
        return (group, slice(None), column)


@dataclass(frozen=True, eq=False)
class CopiedView(WeightView):
    """A parameter read through a rearranged or scaled copy of it.

    Args:
        positions: (G, O, I, *K) int64, the flat index in the parameter of every element read.
    """

    positions: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))

    def put(self, tensor: Tensor, index: Index, value: float | bool) -> None:
        """Set entries of a tensor of the parameter's layout."""
        flat = self.positions[index].flatten()
        places = torch.unravel_index(flat, tensor.shape)
        tensor.detach()[places] = value

    def get(self, tensor: Tensor, index: Index) -> Tensor:
        """Return entries of a tensor of the parameter's layout."""
        return tensor.detach().flatten()[self.positions[index].flatten().to(tensor.device)]

    def any(self, mask: Tensor) -> bool:
        """Whether a mask of the parameter marks an entry that is read through this view."""
        return bool(mask.flatten()[self.positions.flatten()].any())


Index = tuple[Tensor | slice, ...]
"""Entries of a view: groups and outputs, or groups, all outputs and inputs."""


def _split(numbers: Iterable[int], size: int) -> tuple[Tensor, Tensor]:
    flat = torch.tensor(sorted(numbers), dtype=torch.long)
    return flat // size, flat % size


Entries = Mapping[str, Tensor]
"""A boolean mask for every parameter that has entries, by name; the parameter's shape."""


def empty_masks(parameters: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Make a mask of no entries for each of these parameters, of the same strides."""
    return {
        name: torch.zeros_like(parameters[name], dtype=torch.bool, requires_grad=False)
        for name in names
    }
