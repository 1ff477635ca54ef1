"""Mean size of every channel that layers read and write in an ordinary run of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from antifragile.model.units.views import WeightView
from antifragile.model.units.watching.calls import by_channel, read_mixing
from antifragile.model.units.watching.prepare import Inputs, quiet
from antifragile.model.units.watching.sources import ParameterStorage

Sizes = dict[WeightView, np.ndarray]
"""Mean absolute activation of every channel, by the view of the weight that reads or writes it."""


class _Activity(TorchDispatchMode):
    """A run that measures the operands and results of all layers whose weight is a parameter."""

    def __init__(self, storage: ParameterStorage) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's base is untyped
        self.read: dict[WeightView, list[Tensor]] = {}
        self.written: dict[WeightView, list[Tensor]] = {}
        self._storage = storage

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operator, and measure it where it is a layer's."""
        result = func(*args, **(kwargs or {}))
        call = read_mixing(func._schema.name, args, self._is_weight)
        name = None if call is None else self._storage.name_of(call.weight)
        if call is None or name is None:
            return result
        view = self._storage.view(call.weight, name, *call.strides)
        value = result[0] if isinstance(result, tuple) else result
        self.written.setdefault(view, []).append(_sizes(value, call.written))
        if call.data is not None:
            self.read.setdefault(view, []).append(_sizes(call.data, call.read))
        return result

    def _is_weight(self, operand: Tensor) -> bool:
        named = self._storage.name_of(operand) is not None
        return named or bool(self._storage.computed_from(operand))


def measure_activity(model: nn.Module, inputs: Inputs) -> tuple[Sizes, Sizes]:
    """Run a model in evaluation mode and measure the channels of its layers.

    A layer that is called several times has the mean of its calls. The model, its buffers and the
    random generators are afterwards as before.

    Args:
        model: The model.
        inputs: Arguments of one call.

    Returns:
        The sizes of what layers read, and of what they write, in float64.
    """
    activity, own = _Activity(ParameterStorage(model)), inputs.copied()
    with quiet(model), activity:
        model(*own.args, **own.kwargs)
    return _means(activity.read), _means(activity.written)


def _sizes(data: Tensor, dimensions: tuple[int, ...]) -> Tensor:
    return by_channel(data.detach(), dimensions).double().abs().mean(0)


def _means(found: dict[WeightView, list[Tensor]]) -> Sizes:
    return {view: torch.stack(sizes).mean(0).cpu().numpy() for view, sizes in found.items()}
