"""Copies of the clean weights while a perturbation is in the parameters.

To perturb, the clean weights are copied to buffers and noise is added to the parameters in place.
To restore, the buffers are copied back, bit for bit. Between the two, a write to a parameter by
anybody else is noticed by the tensor's version counter; at other times parameters may be written
freely.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from antifragile.errors import UsageError
from antifragile.optim.attach.selection import Slot
from antifragile.optim.noise.kernel import copy_native, is_native

_LARGE = 1 << 25  # bytes: more than a cache holds


class TransientWeights:
    """The parameters that weight rules act on.

    Args:
        slots: The parameters; repeated ones count once.

    Attributes:
        is_in: Whether a perturbation is in them: the buffers hold the clean weights until `lift`.

    All methods are called under `torch.no_grad`.
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
        """Return the clean weights of the parameter with that number."""
        return self.clean_weights()[self._positions[index]]

    def clean_weights(self) -> list[Tensor]:
        """Return the clean weights of all parameters."""
        return self._clean if self.is_in else self.parameters

    def store(self) -> None:
        """Copy the weights to the buffers, before noise is added."""
        torch._foreach_copy_(self.buffers(), self.parameters)
        self.is_in = True

    def buffers(self) -> list[Tensor]:
        """Return the buffers that are to be filled with the weights before ``is_in`` is set."""
        assert not self.is_in
        if not _are_alike(self._clean, self.parameters):
            self._clean = [torch.empty_like(p) for p in self.parameters]
        return self._clean

    def seal(self) -> None:
        """Note the parameters' versions, by which a later write is recognised."""
        self._versions = [parameter._version for parameter in self.parameters]

    def overwritten(self) -> list[Slot]:
        """List the parameters that were written since `seal`."""
        if not self.is_in:
            return []
        now = [parameter._version for parameter in self.parameters]
        if now == self._versions:
            return []
        pairs = zip(self.slots, now, self._versions, strict=True)
        return [slot for slot, version, sealed in pairs if version != sealed]

    def refuse_writes(self) -> None:
        """Check that no weight was written since `seal`.

        Raises:
            UsageError: Weights were written.
        """
        if written := self.overwritten():
            raise UsageError(
                f"{len(written)} parameters were written while a perturbation was in them; load or "
                "change weights inside handle.clean(), load them before the optimizer's state, or "
                "pass model= to perturb()."
            )

    def lift(self, *, accept_writes: bool = False) -> None:
        """Copy the clean weights back into the parameters.

        Args:
            accept_writes: True leaves parameters that were written since `seal` as written.

        Raises:
            UsageError: Parameters were written, and that is not accepted.
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
    """Whether the tensors of each pair have the same shape, dtype and device."""
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
