"""The first watched run: it finds the layers, and the parameters between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from antifragile.model.units.views import CopiedView, WeightView
from antifragile.model.units.watching.calls import MixingCall, read_mixing
from antifragile.model.units.watching.draws import NO_CHANGE, Draw
from antifragile.model.units.watching.sources import (
    ChannelSource,
    Mixing,
    ParameterStorage,
    Passing,
    Recording,
)

BOOKKEEPING = ("aten::detach", "aten::alias")
"""Operators that torch inserts now and then; they are not counted."""

_COPYING = ("aten::clone", "aten::_to_copy", "aten::mul", "aten::div", "aten::neg")
_REPEATING = "aten::repeat"


class RecordedRun(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's base is untyped
    """A run that decides of every operator call whether it is one of a layer.

    Args:
        storage: The model's parameters.
        draw: Random numbers that replace the layers' results.
    """

    def __init__(self, storage: ParameterStorage, draw: Draw) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recording = Recording()
        self._storage, self._draw = storage, draw
        self._number = -1
        self._layers: dict[object, int] = {}
        self._origin: dict[int, set[str] | None] = {}  # by storage; None: made of data
        self._copies: dict[int, tuple[str, Tensor]] = {}  # positions in a parameter, by storage
        self._alive: list[Tensor] = []  # so that no storage is used twice

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operator, with replaced parameters and result where it is a layer's."""
        kwargs = kwargs or {}
        if func._schema.name in BOOKKEEPING:
            return func(*args, **kwargs)
        self._number += 1
        self.recording.n_calls = self._number
        self._note_taken(args, kwargs)
        call = read_mixing(func._schema.name, args, self._is_weight)
        if call is not None:
            return self._mixing(func, call, args, kwargs)
        named = self._parameters_beside_data(args, kwargs)
        if named:
            self.recording.operators[self._number] = func
            self.recording.passing[self._number] = named
            args, kwargs = self._draw.operands(named, args, kwargs, self.recording, NO_CHANGE)
        result = func(*args, **kwargs)
        self._note_origin(args, kwargs, result)
        if func._schema.name in (*_COPYING, _REPEATING):
            self._note_copy(func._schema.name, args, result)
        return result

    def _mixing(self, func: Any, call: MixingCall, args: Any, kwargs: Any) -> Any:
        """Note a layer's call, and replace its result."""
        self._draw.keep_result(self._number, func(*args, **kwargs))
        mixing = Mixing(
            source=self._layer(call),
            weight=next(place for place, item in enumerate(args) if item is call.weight),
            address=call.weight.data_ptr() if self._storage.name_of(call.weight) else None,
            n_groups=call.groups,
            read=call.read,
            written=call.written,
            adds_data=call.bias is not None and not self._is_weight(call.bias),
        )
        self.recording.operators[self._number] = func
        self.recording.mixing[self._number] = mixing
        n_outputs = self.recording.sources[mixing.source].n_outputs
        result = self._draw.result(self._number, mixing, call, NO_CHANGE, n_outputs)
        value = result[0] if isinstance(result, tuple) else result
        self._alive.append(value)
        self._origin[value.untyped_storage().data_ptr()] = None
        return result

    def _parameters_beside_data(self, args: Any, kwargs: Mapping[str, Any]) -> Passing:
        """Parameters among a call's operands by position, if data are among them, too."""
        operands = tree_flatten((args, dict(kwargs)))[0]
        tensors = [item for item in operands if isinstance(item, Tensor)]
        if not any(self._touches_data(item) for item in tensors):
            return {}
        found: Passing = {}
        for position, item in enumerate(operands):
            if not isinstance(item, Tensor):
                continue
            if (name := self._storage.name_of(item)) is not None:
                found[position] = (name, None)
            elif self._made_of(item) and (copied := self._positions(item)) is not None:
                found[position] = copied
        return found

    def _note_taken(self, args: Any, kwargs: Any) -> None:
        for item in tree_flatten((args, kwargs))[0]:
            if isinstance(item, Tensor):
                name = self._storage.name_of(item)
                self.recording.taken |= {name} if name is not None else self._made_of(item)

    def _is_weight(self, operand: Tensor) -> bool:
        return self._storage.name_of(operand) is not None or bool(self._made_of(operand))

    def _made_of(self, operand: Tensor) -> set[str]:
        """Names of the parameters that an operand was computed from, without data."""
        known = self._origin.get(operand.untyped_storage().data_ptr())
        return known or self._storage.computed_from(operand)

    def _note_origin(self, args: Any, kwargs: Any, result: Any) -> None:
        """Remember which results are computed from parameters alone."""
        operands = [i for i in tree_flatten((args, dict(kwargs)))[0] if isinstance(i, Tensor)]
        names: set[str] = set()
        for item in operands:
            name = self._storage.name_of(item)
            names |= {name} if name is not None else self._made_of(item)
        tainted = any(self._touches_data(item) for item in operands)
        for item in tree_flatten(result)[0]:
            if isinstance(item, Tensor) and not self._storage.holds(item):
                self._alive.append(item)
                self._origin[item.untyped_storage().data_ptr()] = None if tainted else names

    def _note_copy(self, operator: str, args: Sequence[Any], result: Tensor) -> None:
        """Remember where the elements of a copied or scaled parameter came from."""
        operands = [item for item in args[:2] if isinstance(item, Tensor)]
        known = [found for item in operands if (found := self._positions(item)) is not None]
        if len(known) != 1:
            return
        name, numbers = known[0]
        if operator == _REPEATING:
            numbers = numbers.repeat(*args[1])
        if numbers.shape != result.shape:
            return
        self._copies[result.untyped_storage().data_ptr()] = (name, _laid_out(numbers, result))

    def _positions(self, operand: Tensor) -> tuple[str, Tensor] | None:
        """Parameter that an operand shows or copies, and the flat index of every element."""
        size, stride, start = operand.shape, operand.stride(), operand.storage_offset()
        if (name := self._storage.name_of(operand)) is not None:
            parameter = self._storage.parameters[name]
            flat = _laid_out(torch.arange(parameter.numel()).view(parameter.shape), parameter)
            return name, flat.as_strided(size, stride, start - parameter.storage_offset())
        copied = self._copies.get(operand.untyped_storage().data_ptr())
        return None if copied is None else (copied[0], copied[1].as_strided(size, stride, start))

    def _touches_data(self, operand: Tensor) -> bool:
        """Whether an operand may have come from the inputs or from a layer."""
        if self._storage.holds(operand):
            return False
        return self._origin.get(operand.untyped_storage().data_ptr()) is None

    def _layer(self, call: MixingCall) -> int:
        """Index of the layer that a call belongs to; a weight that is read twice is one layer."""
        name = self._storage.name_of(call.weight)
        made_of = name or frozenset(self._made_of(call.weight))
        start = call.weight.storage_offset() if name else 0
        key = (made_of, call.strides, call.written, start)
        if key not in self._layers:
            self._layers[key] = len(self.recording.sources)
            self.recording.sources.append(self._source(call, name))
        return self._layers[key]

    def _source(self, call: MixingCall, name: str | None) -> ChannelSource:
        size, stride = call.strides
        n_outputs, n_inputs = size[0] * size[1], size[0] * size[2]
        rows: list[WeightView] = []
        columns, why = None, ""
        if name is not None:
            columns = self._storage.view(call.weight, name, size, stride)
            rows.append(columns)
            shown = name
        elif (copied := self._positions(call.weight)) is not None:
            shown, numbers = copied
            positions = _laid_out(numbers, call.weight).as_strided(size, stride)
            columns = CopiedView(shown, size, (), 0, positions)
            rows.append(columns)
        else:
            made_of = sorted(self._made_of(call.weight))
            shown = made_of[0]
            rows, why = self._computed_rows(made_of, n_outputs)
        why_no_rows = "" if rows else why
        bias = call.bias
        if bias is not None and (bias_name := self._storage.name_of(bias)) is not None:
            step = bias.stride(-1)
            per_group = size[1]
            view = (per_group * step, step, 0)
            rows.append(self._storage.view(bias, bias_name, (size[0], per_group, 1), view))
        return ChannelSource(
            name=self._storage.layer_name(shown, is_embedding=call.data is None),
            rows=tuple(rows),
            columns=columns if call.data is not None else None,
            n_outputs=n_outputs,
            n_inputs=n_inputs if call.data is not None else 0,
            is_convolution=call.is_convolution,
            is_embedding=call.data is None,
            why_no_rows=why_no_rows,
            why_no_columns=why,
        )

    def _computed_rows(self, made_of: list[str], n_outputs: int) -> tuple[list[WeightView], str]:
        """Rows of a weight that is computed from parameters: those of a weight norm's magnitude."""
        for name in made_of:
            value = self._storage.parameters[name]
            is_magnitude = name.endswith(("weight.original0", "weight_g"))
            if is_magnitude and value.numel() == n_outputs == value.shape[0]:
                view = WeightView(name, (1, n_outputs, 1), (0, value.stride(0), 0))
                return [view], f"its weight is scaled by a weight norm ({name})"
        shown = made_of[:2] + ([f"{len(made_of) - 2} more"] if len(made_of) > 2 else [])
        return [], f"its weight is computed from {' and '.join(shown)}"


def _laid_out(numbers: Tensor, like: Tensor) -> Tensor:
    """Copy whole numbers into the memory layout of a tensor of the same shape."""
    return torch.empty_strided(like.shape, like.stride(), dtype=torch.long).copy_(numbers)
