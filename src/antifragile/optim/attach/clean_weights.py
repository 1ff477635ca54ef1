"""Copies of the clean weights while a perturbation is in the parameters.

To perturb, the clean weights are copied to buffers and noise is added to the parameters in place.
To restore, the buffers are copied back, bit for bit. Between the two, a write to a parameter by
anybody else is noticed by the tensor's version counter, or, past that (``p.data``), by a checksum
of all its bits. At other times parameters may be written freely.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from antifragile.errors import UsageError
from antifragile.optim.attach.selection import Slot
from antifragile.optim.noise.kernel import checksums_native, copy_native, is_native

logger = logging.getLogger(__name__)

_LARGE = 1 << 25  # bytes: more than a cache holds
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


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
        self._checksums = torch.zeros(0, dtype=torch.int64)

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
        """Note the parameters' versions and checksums, by which a later write is recognised."""
        torch.clear_autocast_cache()  # it may hold the weights without the perturbation
        self._versions = [parameter._version for parameter in self.parameters]
        self._checksums = checksums(self.parameters)

    def overwritten(self) -> list[Slot]:
        """List the parameters that were written since `seal`."""
        if not self.is_in:
            return []
        now = [parameter._version for parameter in self.parameters]
        differ = (checksums(self.parameters) != self._checksums).tolist()
        if now == self._versions and not any(differ):
            return []
        pairs = zip(self.slots, now, self._versions, differ, strict=True)
        return [slot for slot, version, sealed, other in pairs if other or version != sealed]

    def refuse_writes(self) -> None:
        """Check that no weight was written since `seal`.

        Raises:
            UsageError: Weights were written.
        """
        if written := self.overwritten():
            raise UsageError(
                f"{_named(written)} while a perturbation was in; load or change weights inside "
                "handle.clean(), load them before the optimizer's state, or between "
                "optimizer.step() and the next forward with model= given to perturb()."
            )

    def lift(self, *, accept_writes: bool = False) -> None:
        """Copy the clean weights back into the parameters.

        Args:
            accept_writes: True leaves parameters that were written since `seal` as written, and
                says so.

        Raises:
            UsageError: Parameters were written, and that is not accepted.
        """
        if not self.is_in:
            return
        parameters, clean = self.parameters, self._clean
        if not accept_writes:
            self.refuse_writes()
        elif found := self.overwritten():
            logger.warning(
                "%s while a perturbation was in; their present values are kept.", _named(found)
            )
            written = {slot.index for slot in found}
            kept = [i for i, slot in enumerate(self.slots) if slot.index not in written]
            parameters, clean = [parameters[i] for i in kept], [clean[i] for i in kept]
        if parameters:
            _copy(parameters, clean)
        torch.clear_autocast_cache()
        self.is_in = False


def checksums(tensors: Sequence[Tensor]) -> Tensor:
    """Compute a checksum of all bits of each tensor, (K,) int64 on the CPU.

    It tells apart tensors of one kind; two devices or dtypes have checksums of their own.
    """
    if tensors and is_native(tensors):
        return checksums_native(tensors)
    found = [_checksum(tensor.detach()) for tensor in tensors]
    return torch.stack(found).cpu() if found else torch.zeros(0, dtype=torch.int64)


def bits_of(tensor: Tensor) -> Tensor:
    """Show a tensor's elements as whole numbers of the same size."""
    return tensor.contiguous().view(_INTEGERS[tensor.element_size()])


def _checksum(tensor: Tensor) -> Tensor:
    """Add up the bits of each row and of each column, times a number of its own."""
    bits = bits_of(tensor)
    table = bits.reshape(len(bits) if bits.ndim else 1, -1)
    sums = torch.cat([table.sum(dim, dtype=torch.int64) for dim in (1, 0)])
    return (sums * (2 * torch.arange(len(sums), device=sums.device) + 1)).sum()


def _named(slots: Sequence[Slot]) -> str:
    first = slots[0].name or f"number {slots[0].index}"
    more = f" and {len(slots) - 1} more" if len(slots) > 1 else ""
    return f"{len(slots)} parameters ({first}{more}) were written"


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
