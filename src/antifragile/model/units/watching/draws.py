"""Random numbers that stand for the layers' results and for the parameters between layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from antifragile.model.units.watching.calls import MixingCall
from antifragile.model.units.watching.sources import Mixing, ParameterStorage, Passing, Recording

_FACTOR = -2.0  # changes the sign and the size: neither a ReLU nor an absolute value hides it


ResultChange = Callable[[Tensor, Mixing], Tensor]
"""Gives another result of a mixing call in place of the drawn one."""


@dataclass(frozen=True)
class Change:
    """Numbers to be changed in a run.

    Args:
        source: Index of the source whose channels are multiplied; None for none.
        channels: These channels.
        results: Functions that give some layers other results, by index of the layer.
    """

    source: int | None = None
    channels: Sequence[int] = ()
    results: Mapping[int, ResultChange] = field(default_factory=dict)


NO_CHANGE = Change()

_LARGE = 6.0  # larger than any parameter drawn, so that no bias shuts a ReLU at all places


class Draw:
    """One draw of all random numbers, kept from the first run that needs them.

    Args:
        seed: Number of the draw.
        storage: The model's parameters.
    """

    def __init__(self, seed: int, storage: ParameterStorage) -> None:
        self._seed, self._storage = seed, storage
        self._results: dict[int, tuple[Any, ...]] = {}
        self._parameters: dict[str, Tensor] = {}

    def keep_result(self, number: int, result: Any) -> None:
        """Draw the result of a mixing call, given the true one for its shape."""
        first, *rest = result if isinstance(result, tuple) else (result,)
        self._results[number] = (self._numbers(first, number) * _LARGE, *rest)

    def has_result(self, number: int) -> bool:
        """Whether the result of a mixing call was drawn."""
        return number in self._results

    def result(
        self, number: int, mixing: Mixing, call: MixingCall, change: Change, n_outputs: int
    ) -> Any:
        """Return the result of a mixing call, changed if the change is of its layer."""
        drawn, *rest = self._results[number]
        value = drawn.clone()
        if mixing.source in change.results:
            value = change.results[mixing.source](value, mixing)
        if change.source == mixing.source:
            _multiply(value, change.channels, mixing, n_outputs)
        if mixing.adds_data and call.bias is not None:
            shape = (-1, *[1] * (value.dim() - 2)) if call.is_convolution else call.bias.shape
            value += call.bias.reshape(shape)
        return (value, *rest) if rest else value

    def operands(
        self, named: Passing, args: Any, kwargs: Any, recording: Recording, change: Change
    ) -> tuple[Any, Any]:
        """Replace parameters among a call's operands.

        Args:
            named: The parameters by position of the operand.
            args: Positional arguments.
            kwargs: Keyword arguments.
            recording: The first run's, to find the changed source.
            change: The change of this run.
        """
        if not named:
            return args, kwargs
        source = None
        if change.source is not None and change.source >= recording.n_layers:
            source = recording.sources[change.source]
        operands, spec = tree_flatten((args, kwargs))
        for position, (name, copied) in named.items():
            value = self._parameter(name)
            if source is not None and source.rows[0].parameter == name:
                view, value = source.rows[0], value.clone()
                view.of(value)[view.rows(change.channels)] *= _FACTOR
            if copied is not None:
                operands[position] = value.flatten()[copied].to(operands[position].dtype)
            else:
                operands[position] = self._view(operands[position], name, value)
        replaced: tuple[Any, Any] = tree_unflatten(operands, spec)
        return replaced

    def _parameter(self, name: str) -> Tensor:
        if name not in self._parameters:
            number = int.from_bytes(name.encode()[-5:], "little")
            self._parameters[name] = self._numbers(self._storage.parameters[name], number)
        return self._parameters[name]

    def _view(self, operand: Tensor, name: str, value: Tensor) -> Tensor:
        offset = operand.storage_offset() - self._storage.parameters[name].storage_offset()
        return value.as_strided(operand.shape, operand.stride(), value.storage_offset() + offset)

    def _numbers(self, like: Tensor, number: int) -> Tensor:
        """Draw numbers of random sign and of size 0.5 to 1.5, of a tensor's shape and strides.

        Neighbours along the first dimension, which are samples, have opposite signs.
        """
        generator = torch.Generator().manual_seed(number * 16 + self._seed)
        size = torch.rand(like.shape, generator=generator) + 0.5
        sign = torch.randint(0, 2, like.shape, generator=generator) * 2 - 1
        if like.dim() > 1:
            sign[1::2] = -sign[: len(sign) // 2 * 2 : 2]
        return torch.empty_like(like, requires_grad=False).copy_(size * sign)


def _multiply(value: Tensor, channels: Sequence[int], mixing: Mixing, n_outputs: int) -> None:
    """Multiply output channels of a result in place."""
    chosen = torch.tensor(sorted(channels), dtype=torch.long, device=value.device)
    if len(mixing.written) == 1:
        changed = value.index_select(mixing.written[0], chosen) * _FACTOR
        value.index_copy_(mixing.written[0], chosen, changed)
        return
    per_group = n_outputs // mixing.n_groups
    for channel in chosen.tolist():  # a batch of weights: (G, .., O)
        part = value[channel // per_group].select(mixing.written[1], channel % per_group)
        part.mul_(_FACTOR)
