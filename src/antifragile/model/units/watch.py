"""One watched run of a model: the layers in it, and what a change of their outputs reaches.

In every run the result of each mixing call (see `calls`) is replaced by random numbers that depend
on the call alone, and so is every parameter used elsewhere (norms, position embeddings, depthwise
filters). What a layer reads then depends on the replaced results only through what lies between
two layers: norms, activations, products, pooling, reshaping, attention. Changing some output
channels of one layer, and looking which input columns of which layers change, shows that
dependence, whatever the code between is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from antifragile.model.units.calls import MixingCall, read_mixing
from antifragile.model.units.sources import (
    ChannelSource,
    Mixing,
    ParameterStorage,
    Recording,
    layer_name,
)
from antifragile.model.units.views import CopiedView, WeightView

_BOOKKEEPING = ("aten::detach", "aten::alias")  # torch inserts them now and then
_COPYING = ("aten::clone", "aten::_to_copy", "aten::mul", "aten::div", "aten::neg")
_FACTOR = -2.0  # changes the sign and the size: neither a ReLU nor an absolute value hides it


class OtherPath(Exception):
    """The model made other calls than in its first run: its way depends on the numbers."""


@dataclass(frozen=True)
class Change:
    """Output channels of a source to be changed: multiplied, or set before that.

    Args:
        source: Index of the source.
        channels: The channels.
        level: Value to which all channels of the source are set first; None leaves them.
    """

    source: int
    channels: Sequence[int]
    level: float | None = None


class WatchedRun(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's base is untyped
    """A run of the model with replaced results; the first one records, later ones compare.

    Args:
        storage: The model's parameters.
        recording: The first run's; None makes this the first.
        change: The channels to change, in a later run.
    """

    def __init__(
        self,
        storage: ParameterStorage,
        recording: Recording | None = None,
        change: Change | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.storage, self.change = storage, change
        self.recording = recording or Recording()
        self.read: list[Tensor | None] = []
        self._is_first = recording is None
        self._number = -1
        self._layers: dict[object, int] = {}
        self._origin: dict[int, set[str] | None] = {}  # by storage; None: made of data
        self._copies: dict[int, tuple[str, Tensor]] = {}  # positions in a parameter, by storage
        self._alive: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operator, with replaced parameters and result where it is a mixing call."""
        kwargs = kwargs or {}
        if func._schema.name in _BOOKKEEPING:
            return func(*args, **kwargs)
        self._number += 1
        if self._is_first:
            self._record(func, args, kwargs)
        elif self.recording.operators.get(self._number) not in (None, func):
            raise OtherPath
        mixing = self.recording.mixing.get(self._number)
        if mixing is None:
            args, kwargs = self._with_replaced_parameters(args, kwargs)
            result = func(*args, **kwargs)
            if self._is_first:
                self._note_origin(args, kwargs, result)
                if func._schema.name in _COPYING:
                    self._note_copy(args, result)
            return result
        return self._replaced(mixing, func, args, kwargs)

    def finish(self, outputs: list[Tensor]) -> None:
        """Take the run's outputs, or notice that it went another way."""
        if self._is_first:
            self.recording.n_calls = self._number
            self.recording.read, self.recording.outputs = self.read, outputs
        elif self._number != self.recording.n_calls:
            raise OtherPath
        self._alive.clear()

    def _record(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Decide what this call is, in the first run."""
        call = read_mixing(func._schema.name, args, self._is_weight)
        if call is not None:
            adds_data = call.bias is not None and not self._is_weight(call.bias)
            self.recording.operators[self._number] = func
            weight = next(place for place, item in enumerate(args) if item is call.weight)
            self.recording.mixing[self._number] = Mixing(
                self._layer(call), weight, call.groups, call.read, call.written, adds_data
            )
            return
        operands = tree_flatten((args, dict(kwargs)))[0]
        tensors = [item for item in operands if isinstance(item, Tensor)]
        if not any(self._touches_data(item) for item in tensors):
            return
        named = {
            position: name
            for position, item in enumerate(operands)
            if isinstance(item, Tensor) and (name := self.storage.name_of(item)) is not None
        }
        if named:
            self.recording.operators[self._number] = func
            self.recording.passing[self._number] = named

    def _is_weight(self, operand: Tensor) -> bool:
        return self.storage.name_of(operand) is not None or bool(self._made_of(operand))

    def _made_of(self, operand: Tensor) -> set[str]:
        """Names of the parameters that an operand was computed from, without data."""
        return self._origin.get(operand.untyped_storage().data_ptr()) or set()

    def _note_origin(self, args: Any, kwargs: Any, result: Any) -> None:
        """Remember which results are computed from parameters alone."""
        operands = [i for i in tree_flatten((args, dict(kwargs)))[0] if isinstance(i, Tensor)]
        names: set[str] = set()
        for item in operands:
            name = self.storage.name_of(item)
            names |= {name} if name is not None else self._made_of(item)
        tainted = any(self._touches_data(item) for item in operands)
        for item in tree_flatten(result)[0]:
            if isinstance(item, Tensor) and not self.storage.holds(item):
                self._alive.append(item)
                self._origin[item.untyped_storage().data_ptr()] = None if tainted else names

    def _note_copy(self, args: Sequence[Any], result: Tensor) -> None:
        """Remember where the elements of a copied or scaled parameter came from."""
        operands = [item for item in args[:2] if isinstance(item, Tensor)]
        known = [found for item in operands if (found := self._positions(item)) is not None]
        if len(known) != 1 or known[0][1].shape != result.shape:
            return
        name, numbers = known[0]
        laid_out = torch.empty_strided(result.shape, result.stride(), dtype=torch.long)
        laid_out.copy_(numbers)
        self._copies[result.untyped_storage().data_ptr()] = (name, laid_out)

    def _positions(self, operand: Tensor) -> tuple[str, Tensor] | None:
        """Parameter that an operand shows or copies, and the flat index of every element."""
        size, stride, start = operand.shape, operand.stride(), operand.storage_offset()
        if (name := self.storage.name_of(operand)) is not None:
            parameter = self.storage.parameters[name]
            flat = torch.empty_strided(parameter.shape, parameter.stride(), dtype=torch.long)
            flat.copy_(torch.arange(parameter.numel()).view(parameter.shape))
            return name, flat.as_strided(size, stride, start - parameter.storage_offset())
        copied = self._copies.get(operand.untyped_storage().data_ptr())
        return None if copied is None else (copied[0], copied[1].as_strided(size, stride, start))

    def _touches_data(self, operand: Tensor) -> bool:
        """Whether an operand may have come from the inputs or from a layer."""
        if self.storage.holds(operand):
            return False
        return self._origin.get(operand.untyped_storage().data_ptr()) is None

    def _layer(self, call: MixingCall) -> int:
        """Index of the layer that a call belongs to; a weight that is read twice is one layer."""
        name = self.storage.name_of(call.weight)
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
            columns = self.storage.view(call.weight, name, size, stride)
            rows.append(columns)
            shown = name
        elif (copied := self._positions(call.weight)) is not None:
            shown, numbers = copied
            laid_out = torch.empty_strided(
                call.weight.shape, call.weight.stride(), dtype=torch.long
            )
            laid_out.copy_(numbers)
            columns = CopiedView(shown, size, (), 0, laid_out.as_strided(size, stride))
            rows.append(columns)
        else:
            made_of = sorted(self._made_of(call.weight))
            shown = made_of[0]
            rows, why = self._computed_rows(made_of, n_outputs)
        why_no_rows = "" if rows else why
        bias = call.bias
        if bias is not None and (bias_name := self.storage.name_of(bias)) is not None:
            step = bias.stride(-1)
            per_group = size[1]
            view = (per_group * step, step, 0)
            rows.append(self.storage.view(bias, bias_name, (size[0], per_group, 1), view))
        return ChannelSource(
            name=layer_name(shown),
            rows=tuple(rows),
            columns=columns if call.data is not None else None,
            n_outputs=n_outputs,
            n_inputs=n_inputs if call.data is not None else 0,
            is_convolution=call.is_convolution,
            why_no_rows=why_no_rows,
            why_no_columns=why,
        )

    def _computed_rows(self, made_of: list[str], n_outputs: int) -> tuple[list[WeightView], str]:
        """Rows of a weight that is computed from parameters: those of a weight norm's magnitude."""
        for name in made_of:
            value = self.storage.parameters[name]
            is_magnitude = name.endswith(("weight.original0", "weight_g"))
            if is_magnitude and value.numel() == n_outputs == value.shape[0]:
                view = WeightView(name, (1, n_outputs, 1), (0, value.stride(0), 0))
                return [view], f"its weight is scaled by a weight norm ({name})"
        return [], f"its weight is computed from {' and '.join(made_of)}"

    def _with_replaced_parameters(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        named = self.recording.passing.get(self._number)
        if not named:
            return args, kwargs
        operands, spec = tree_flatten((args, kwargs))
        for position, name in named.items():
            operands[position] = self._replaced_parameter(operands[position], name)
        replaced: tuple[Any, Any] = tree_unflatten(operands, spec)
        return replaced

    def _replaced_parameter(self, operand: Tensor, name: str) -> Tensor:
        parameter = self.storage.parameters[name]
        if name not in self.recording.parameters:
            self.recording.parameters[name] = _random_like(parameter, seed=_seed_of(name))
        value = self.recording.parameters[name]
        change = self.change
        if change is not None and change.source >= self.recording.n_layers:
            source = self.recording.sources[change.source]
            if source.rows[0].parameter == name:
                rows, value = source.rows[0], value.clone()
                rows.of(value)[rows.rows(change.channels)] *= _FACTOR
        offset = operand.storage_offset() - parameter.storage_offset()
        return value.as_strided(operand.shape, operand.stride(), value.storage_offset() + offset)

    def _replaced(self, mixing: Mixing, func: Any, args: Any, kwargs: Any) -> Any:
        """Keep what a mixing call reads, and replace its result."""
        source = self.recording.sources[mixing.source]
        weight = args[mixing.weight]
        call = read_mixing(func._schema.name, args, lambda operand: operand is weight)
        if call is None:
            raise OtherPath
        data = call.data
        self.read.append(None if data is None else data.detach().clone())
        if self._is_first:
            result = func(*args, **kwargs)
            first, *rest = result if isinstance(result, tuple) else (result,)
            drawn = _random_like(first, seed=self._number)
            self.recording.values[self._number] = (drawn, *rest)
        drawn, *rest = self.recording.values[self._number]
        value = drawn.clone()
        if self.change is not None and self.change.source == mixing.source:
            _change(value, mixing, source, self.change)
        if mixing.adds_data and call.bias is not None:
            shape = (-1, *[1] * (value.dim() - 2)) if call.is_convolution else call.bias.shape
            value += call.bias.reshape(shape)
        if self._is_first:
            self._alive.append(value)
            self._origin[value.untyped_storage().data_ptr()] = None
        return (value, *rest) if rest else value


def _change(value: Tensor, mixing: Mixing, source: ChannelSource, change: Change) -> None:
    """Change output channels of a result in place."""
    factor = _FACTOR
    if change.level is not None:
        value.fill_(change.level)
        factor = -_FACTOR  # the level keeps its sign
    channels = torch.tensor(sorted(change.channels), dtype=torch.long, device=value.device)
    if len(mixing.written) == 1:
        value.index_copy_(
            mixing.written[0], channels, value.index_select(mixing.written[0], channels) * factor
        )
        return
    per_group = source.n_outputs // mixing.n_groups
    for channel in channels.tolist():  # a batch of weights: (G, .., O)
        part = value[channel // per_group].select(mixing.written[1], channel % per_group)
        part.mul_(factor)


def _random_like(tensor: Tensor, *, seed: int) -> Tensor:
    """Draw numbers of random sign and of size 0.5 to 1.5, of a tensor's shape and strides."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.rand(tensor.shape, generator=generator) + 0.5
    sign = torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1
    drawn = torch.empty_like(tensor, requires_grad=False)
    return drawn.copy_(size * sign)


def _seed_of(name: str) -> int:
    return int.from_bytes(name.encode()[-7:], "little")
