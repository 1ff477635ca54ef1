"""Perturbations that sit in the weights between steps, and the clean weights behind them.

Put in: the clean weights are copied aside and noise is added in place. Lifted: they are copied
back, bit for bit. While lifted the parameters themselves are the truth, and anything may write
them; while put in, a write from outside is noticed by the tensor's version counter.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from antifragile.errors import UsageError
from antifragile.optim.attach.selection import Slot
from antifragile.optim.noise.kernel import copy_native, is_native

_LARGE = 1 << 25  # bytes that no cache keeps until the optimizer reads them


class TransientWeights:
    """The parameters that weight rules act on.

    Args:
        slots: Each parameter once.

    Everything here runs without gradients.
    """

    def __init__(self, slots: Iterable[Slot]) -> None:
        self.slots = list({slot.index: slot for slot in slots}.values())
        self.parameters: list[Tensor] = [slot.parameter for slot in self.slots]
        self.indices = [slot.index for slot in self.slots]
        self._positions = {index: i for i, index in enumerate(self.indices)}
        self.is_in = False
        self._clean: list[Tensor] = []
        self._versions: list[int] = []

    def clean(self, index: int) -> Tensor:
        """The clean weights of the parameter with that number."""
        return self.clean_weights()[self._positions[index]]

    def clean_weights(self) -> list[Tensor]:
        """The clean weights of all of them."""
        return self._clean if self.is_in else self.parameters

    def store(self) -> None:
        """Copy the weights aside, before noise is added."""
        torch._foreach_copy_(self.buffers(), self.parameters)
        self.hold()

    def buffers(self) -> list[Tensor]:
        """What is to be filled with the weights, for `hold`."""
        assert not self.is_in
        if not _are_alike(self._clean, self.parameters):
            self._clean = [torch.empty_like(p) for p in self.parameters]
        return self._clean

    def hold(self) -> None:
        """From here on the buffers are the clean weights."""
        self.is_in = True

    def seal(self) -> None:
        """Note the versions: from here on a write is somebody else's."""
        self._versions = [parameter._version for parameter in self.parameters]

    def overwritten(self) -> list[Slot]:
        """The parameters somebody wrote while the perturbation was in."""
        if not self.is_in:
            return []
        now = [parameter._version for parameter in self.parameters]
        if now == self._versions:
            return []
        pairs = zip(self.slots, now, self._versions, strict=True)
        return [slot for slot, version, sealed in pairs if version != sealed]

    def refuse_writes(self) -> None:
        """Complain when weights were written while the perturbation was in.

        Raises:
            UsageError: They were.
        """
        written = len(self.overwritten())
        if written:
            raise UsageError(
                f"{written} parameters were written while a perturbation was in them; load or "
                "change weights inside handle.clean(), load them before the optimizer's state, or "
                "pass model= to perturb()."
            )

    def lift(self, *, accept_writes: bool = False) -> None:
        """Bring the clean weights back.

        Args:
            accept_writes: Weights that were written meanwhile stay as written.

        Raises:
            UsageError: Weights were written meanwhile, and that is not accepted.
        """
        if not self.is_in:
            return
        parameters, clean = self.parameters, self._clean
        if accept_writes:
            written = {slot.index for slot in self.overwritten()}
            kept = [i for i, slot in enumerate(self.slots) if slot.index not in written]
            parameters, clean = [parameters[i] for i in kept], [clean[i] for i in kept]
        else:
            self.refuse_writes()
        if parameters:
            _copy(parameters, clean)
        self.is_in = False


def _are_alike(some: list[Tensor], others: list[Tensor]) -> bool:
    """Whether each has the shape, dtype and device of its other."""
    return len(some) == len(others) and all(
        a.shape == b.shape and a.dtype is b.dtype and a.device == b.device
        for a, b in zip(some, others, strict=True)
    )


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    is_large = sum(source.nbytes for source in sources) >= _LARGE
    if is_large and _are_alike(targets, sources) and is_native([*targets, *sources]):
        copy_native(targets, sources)
    else:
        torch._foreach_copy_(targets, sources)
