"""Layers of a model and parameters between them, as the first run finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from antifragile.model.units.views import WeightView


@dataclass(frozen=True)
class ChannelSource:
    """A layer, or a parameter between layers, whose channels can be changed.

    Args:
        name: The module or parameter, as the model names it.
        rows: Views of all parameters whose rows write its channels.
        columns: View of the weight by which it reads; None if it reads nothing or cannot be cut.
        n_outputs: Number of its channels.
        n_inputs: Number of the columns it reads.
        is_layer: False for a parameter between layers.
        is_embedding: Whether it reads indices.
        is_convolution: Whether it slides over positions.
        why_no_rows: Reason why its channels cannot be zeroed, or "".
        why_no_columns: Reason why its columns cannot be zeroed, or "".
    """

    name: str
    rows: tuple[WeightView, ...]
    columns: WeightView | None
    n_outputs: int
    n_inputs: int
    is_layer: bool = True
    is_convolution: bool = False
    is_embedding: bool = False
    why_no_rows: str = ""
    why_no_columns: str = ""


@dataclass(frozen=True)
class Mixing:
    """A mixing call at its place in the run.

    Args:
        source: Index of the layer.
        weight: Position of the weight among the operands.
        address: Memory address of a weight that is a parameter; None of a computed one.
        n_groups: Groups of the layer.
        read: Dimensions of the input that hold channels.
        written: Dimensions of the result that hold channels.
        adds_data: Whether its bias is data.
    """

    source: int
    weight: int
    address: int | None
    n_groups: int
    read: tuple[int, ...]
    written: tuple[int, ...]
    adds_data: bool


Passing = dict[int, tuple[str, Tensor | None]]
"""Parameters among the operands of a call, by position; of a copy the index of every element."""


@dataclass
class Recording:
    """Everything that the first run found.

    Args:
        sources: Layers, in the order of their first call; then parameters between layers.
        mixing: Mixing calls by the number of the operator call.
        passing: Parameters read between layers, by number of the call and position of the operand;
            of a copy also the flat index of every element.
        operators: The operators of these calls, to notice a run that goes another way.
        taken: Names of all parameters that any operator took.
        n_calls: Number of operator calls.
    """

    sources: list[ChannelSource] = field(default_factory=list)
    mixing: dict[int, Mixing] = field(default_factory=dict)
    passing: dict[int, Passing] = field(default_factory=dict)
    operators: dict[int, Any] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    n_calls: int = 0

    @property
    def n_layers(self) -> int:
        """Number of the sources that are layers."""
        return sum(source.is_layer for source in self.sources)

    @property
    def starts(self) -> np.ndarray:
        """First column of every layer among the columns of all, and the number of all."""
        sizes = [source.n_inputs for source in self.sources if source.is_layer]
        return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


class ParameterStorage:
    """Finds the parameter that an operand is a view of.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters = {name: value.detach() for name, value in model.named_parameters()}
        self._aliases = _aliases(model)
        self._computed = _computed_weights(model)
        self._buffers = {value.untyped_storage().data_ptr() for value in model.buffers()}
        self._by_storage: dict[int, list[str]] = {}
        for name, value in self.parameters.items():
            self._by_storage.setdefault(value.untyped_storage().data_ptr(), []).append(name)

    def holds(self, operand: Tensor) -> bool:
        """Whether an operand is a view of a parameter, of a computed weight, or of a buffer."""
        key = operand.untyped_storage().data_ptr()
        return key in self._by_storage or key in self._computed or key in self._buffers

    def computed_from(self, operand: Tensor) -> set[str]:
        """Names of the parameters that a parametrized weight is computed from."""
        names = self._computed.get(operand.untyped_storage().data_ptr(), (set(), None))[0]
        return names

    def name_of(self, operand: Tensor) -> str | None:
        """Name of the parameter that an operand is a view of, or None."""
        if type(operand) not in (Tensor, torch.nn.Parameter) or operand.layout != torch.strided:
            return None
        names = self._by_storage.get(operand.untyped_storage().data_ptr(), ())
        if not names or operand.numel() == 0:
            return None
        start = operand.storage_offset()
        held = [name for name in names if self.parameters[name].storage_offset() <= start]
        best = max(held, key=lambda name: self.parameters[name].storage_offset(), default=None)
        fits = best is not None and self.parameters[best].dtype == operand.dtype
        return best if fits else None

    def layer_name(self, parameter: str, *, is_embedding: bool) -> str:
        """Name of the layer that reads a parameter; a tied one is read by several modules."""
        named = self._aliases.get(parameter, {parameter: False})
        fitting = [name for name, in_embedding in named.items() if in_embedding == is_embedding]
        return _module_name((fitting or [parameter])[0])

    def view(
        self, operand: Tensor, name: str, size: Sequence[int], stride: Sequence[int]
    ) -> WeightView:
        """Describe an operand as a `WeightView` of the parameter it is a view of."""
        offset = int(operand.storage_offset() - self.parameters[name].storage_offset())
        return WeightView(name, tuple(size), tuple(stride), offset)


def _computed_weights(model: nn.Module) -> dict[int, tuple[set[str], Tensor]]:
    """Parametrized weights by storage, with the parameters they are computed from.

    Inside ``parametrize.cached()`` the same tensors are what the model's layers read.
    """
    found: dict[int, tuple[set[str], Tensor]] = {}
    for path, module in model.named_modules():
        if not is_parametrized(module):
            continue
        for name in module.parametrizations:
            weight = getattr(module, name)
            prefix = f"{path}.parametrizations.{name}." if path else f"parametrizations.{name}."
            names = {key for key, _ in model.named_parameters() if key.startswith(prefix)}
            found[weight.untyped_storage().data_ptr()] = (names, weight)
    return found


def _aliases(model: nn.Module) -> dict[str, dict[str, bool]]:
    """All names of every parameter, with whether the module there is an embedding."""
    first = {id(value): name for name, value in model.named_parameters()}
    found: dict[str, dict[str, bool]] = {}
    for name, value in model.named_parameters(remove_duplicate=False):
        module = model.get_submodule(name.rpartition(".")[0])
        is_embedding = isinstance(module, nn.Embedding | nn.EmbeddingBag)
        found.setdefault(first[id(value)], {})[name] = is_embedding
    return found


def _module_name(parameter: str) -> str:
    """Name of the module that a parameter belongs to, or of the parameter if it has several."""
    path, _, last = parameter.rpartition(".")
    if ".parametrizations." in parameter:
        return parameter.partition(".parametrizations.")[0]
    kinds = ("weight", "bias", "weight_g", "weight_v", "weight_orig")
    return path if path and last in kinds else parameter
