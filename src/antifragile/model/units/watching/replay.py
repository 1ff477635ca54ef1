"""Later watched runs: the first one's way again, with some channels changed."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from antifragile.model.units.watching.calls import read_mixing
from antifragile.model.units.watching.draws import Change, Draw
from antifragile.model.units.watching.record import BOOKKEEPING
from antifragile.model.units.watching.sources import Recording


class OtherPath(Exception):
    """The model made other calls than in its first run: its way depends on the numbers."""


class ReplayedRun(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's base is untyped
    """A run that keeps what every layer reads.

    Args:
        recording: The first run's.
        draw: Random numbers that replace the layers' results.
        change: Numbers to change.
    """

    def __init__(self, recording: Recording, draw: Draw, change: Change) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.read: list[Tensor | None] = []
        self._recording, self._draw, self._change = recording, draw, change
        self._number = -1

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operator, with replaced parameters and result where it is a layer's."""
        kwargs = kwargs or {}
        if func._schema.name in BOOKKEEPING:
            return func(*args, **kwargs)
        self._number += 1
        number, recording = self._number, self._recording
        if recording.operators.get(number) not in (None, func):
            raise OtherPath
        mixing = recording.mixing.get(number)
        if mixing is None:
            named = recording.passing.get(number, {})
            args, kwargs = self._draw.operands(named, args, kwargs, recording, self._change)
            return func(*args, **kwargs)
        weight = args[mixing.weight]
        if mixing.address not in (None, weight.data_ptr()):
            raise OtherPath
        call = read_mixing(func._schema.name, args, lambda operand: operand is weight)
        if call is None:
            raise OtherPath
        self.read.append(None if call.data is None else call.data.detach().clone())
        if not self._draw.has_result(number):
            self._draw.keep_result(number, func(*args, **kwargs))
        n_outputs = recording.sources[mixing.source].n_outputs
        return self._draw.result(number, mixing, call, self._change, n_outputs)

    def finish(self) -> None:
        """Notice a run that went another way.

        Raises:
            OtherPath: It made fewer or more calls than the first.
        """
        if self._number != self._recording.n_calls:
            raise OtherPath
