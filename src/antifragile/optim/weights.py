"""Perturbations that sit in the weights between steps, and the clean weights behind them.

Put in: the clean weights are copied aside and noise is added in place. Lifted: they are copied
back, bit for bit. While lifted the parameters themselves are the truth, and anything may write
them; while put in, a write from outside is noticed by the tensor's version counter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from antifragile.errors import UsageError
from antifragile.optim.selection import Slot


class TransientWeights:
    """The parameters that weight rules act on.

    Args:
        slots: Each parameter once.

    Everything here runs without gradients.
    """

    def __init__(self, slots: Iterable[Slot]) -> None:
        self.slots = list({slot.index: slot for slot in slots}.values())
        self.parameters: list[Tensor] = [slot.parameter for slot in self.slots]
        self.is_in = False
        self._clean: list[Tensor] = []
        self._versions: list[int] = []

    def clean(self, index: int) -> Tensor:
        """The clean weights of the parameter with that number."""
        position = next(i for i, slot in enumerate(self.slots) if slot.index == index)
        return self._clean[position] if self.is_in else self.slots[position].parameter

    def clean_weights(self) -> list[Tensor]:
        """The clean weights of all of them."""
        return self._clean if self.is_in else self.parameters

    def store(self) -> None:
        """Copy the weights aside, before noise is added."""
        with self.storing() as backups:
            torch._foreach_copy_(backups, self.parameters)

    @contextmanager
    def storing(self) -> Iterator[list[Tensor]]:
        """Buffers to be filled with the weights inside."""
        assert not self.is_in
        if len(self._clean) != len(self.slots):
            self._clean = [torch.empty_like(p) for p in self.parameters]
        yield self._clean
        self.is_in = True

    def seal(self) -> None:
        """Note the versions: from here on a write is somebody else's."""
        self._versions = [parameter._version for parameter in self.parameters]

    def overwritten(self) -> list[Slot]:
        """The parameters somebody wrote while the perturbation was in."""
        if not self.is_in:
            return []
        pairs = zip(self.slots, self._versions, strict=True)
        return [slot for slot, version in pairs if slot.parameter._version != version]

    def refuse_writes(self) -> None:
        """Complain when weights were written while the perturbation was in.

        Raises:
            UsageError: They were.
        """
        written = self.overwritten()
        if written:
            raise UsageError(
                f"{len(written)} parameters were written while a perturbation was in them; load or "
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
        if not accept_writes:
            self.refuse_writes()
        written = {slot.index for slot in self.overwritten()}
        kept = [i for i, slot in enumerate(self.slots) if slot.index not in written]
        parameters = self.parameters
        if kept:
            torch._foreach_copy_([parameters[i] for i in kept], [self._clean[i] for i in kept])
        self.is_in = False
