"""The clean weights while a perturbation is in the parameters.

There are two ways, both with one buffer for each parameter:

exchanging   the buffer becomes a perturbed copy of the weights and the parameter's data until the
             weights are clean again; the clean weights stay where they are
in place     the weights are copied to the buffer, perturbed, and copied back

The first is cheaper; the second leaves the parameters' memory the same at all times, as views of a
larger tensor, recorded CUDA graphs and loops without a model that is called need it. Either way
the weights come back bit for bit, and a write to a perturbed parameter by anybody else is noticed
by the tensor's version counter, or, past that (``p.data``), by a checksum of all its bits. At
other times parameters may be written freely.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from antifragile.errors import UsageError
from antifragile.optim.attach.own_weights import (
    PLAIN,
    have_memory_of_their_own,
    is_shared,
    is_viewed,
)
from antifragile.optim.attach.selection import Slot
from antifragile.optim.noise.kernel import can_add, can_check, checksums_native, copy_native

logger = logging.getLogger(__name__)

_LARGE = 1 << 25  # bytes: more than a cache holds
Fill = Callable[[list[Tensor], list[Tensor]], Tensor | None]
"""Makes the first tensors perturbed copies of the second; returns checksums of them, if it can."""

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class TransientWeights:
    """The parameters that weight rules act on.

    Args:
        slots: The parameters; repeated ones count once.
        model: The model that is called; None keeps the parameters' memory the same.

    Attributes:
        is_in: Whether a perturbation is in them, until `lift`.

    All methods are called under `torch.no_grad`.
    """

    def __init__(self, slots: Iterable[Slot], model: nn.Module | None = None) -> None:
        self.slots = list({slot.index: slot for slot in slots}.values())
        self.parameters: list[Tensor] = [slot.parameter for slot in self.slots]
        self.indices = [slot.index for slot in self.slots]
        self._positions = {index: i for i, index in enumerate(self.indices)}
        _refuse_shared(self.slots)
        self.is_in = False
        self._may_exchange = model is not None and have_memory_of_their_own(self.parameters, model)
        self._exchanges = False
        self._buffers: list[Tensor] = []
        self._clean: list[Tensor] = []
        self._versions: list[int] = []
        self._checksums = torch.zeros(0, dtype=torch.int64)

    def clean(self, index: int) -> Tensor:
        """Return the clean weights of the parameter with that number."""
        return self.clean_weights()[self._positions[index]]

    def clean_weights(self) -> list[Tensor]:
        """Return the clean weights of all parameters."""
        return self._clean if self.is_in else self.parameters

    def store(self, fill: Fill | None = None) -> Tensor | None:
        """Keep the clean weights, from where the parameters may be perturbed.

        Args:
            fill: Adds the first perturbation, where it can do so while the weights are copied.

        Returns:
            Checksums of the parameters, where ``fill`` computed them.
        """
        assert not self.is_in
        if not _are_alike(self._buffers, self.parameters):
            self._buffers = [torch.empty_like(p) for p in self.parameters]
        self._exchanges = self._may_exchange and all(map(_fills_its_memory, self.parameters))
        self._clean = [p.data for p in self.parameters] if self._exchanges else self._buffers
        if fill is None or not self._exchanges:
            torch._foreach_copy_(self._buffers, self.parameters)
        found = None
        if fill is not None:
            found = fill(self._buffers if self._exchanges else self.parameters, self._clean)
        if self._exchanges:
            _give_data(self.parameters, self._buffers)
        self.is_in = True
        return found

    def seal(self, known: Tensor | None = None) -> None:
        """Note the parameters' versions and checksums, by which a later write is recognised.

        Args:
            known: The checksums, where they are known.
        """
        torch.clear_autocast_cache()  # it may hold the weights without the perturbation
        self._versions = [parameter._version for parameter in self.parameters]
        self._checksums = checksums(self.parameters) if known is None else known

    def overwritten(self) -> list[Slot]:
        """List the parameters that were written since `seal`."""
        if not self.is_in:
            return []
        now = [parameter._version for parameter in self.parameters]
        differ = (checksums(self.parameters) != self._checksums).tolist()
        if self._exchanges:
            ours = zip(self.parameters, self._buffers, strict=True)
            differ = [
                d or p.data_ptr() != b.data_ptr() for d, (p, b) in zip(differ, ours, strict=True)
            ]
        if now == self._versions and not any(differ):
            return []
        pairs = zip(self.slots, now, self._versions, differ, strict=True)
        return [slot for slot, version, sealed, other in pairs if other or version != sealed]

    def refuse_writes(self) -> None:
        """Check that no weight was written since `seal`, nor shared where that cannot be followed.

        Raises:
            UsageError: Weights were written, or perturbed copies of them shared.
        """
        if written := self.overwritten():
            raise UsageError(
                f"{_named(written)} were written while a perturbation was in; load or change "
                "weights inside handle.clean(), load them before the optimizer's state, or between "
                "optimizer.step() and the next forward with model= given to perturb()."
            )
        if self._exchanges and (shared := self._shared_twice()):
            raise UsageError(
                f"{_named(shared)} were shared with another process while a perturbation was in, "
                "and others have their memory of before, so that one of the two would see no step; "
                "share or send the model between optimizer.step() and the next forward, or inside "
                "handle.clean()."
            )

    def lift(self, *, accept_writes: bool = False) -> None:
        """Bring the clean weights back into the parameters.

        Args:
            accept_writes: True leaves parameters that were written since `seal` as written, and
                says so.

        Raises:
            UsageError: Parameters were written, and that is not accepted.
        """
        if not self.is_in:
            return
        written: set[int] = set()
        if not accept_writes:
            self.refuse_writes()
        elif found := self.overwritten():
            logger.warning(
                "%s were written while a perturbation was in; their present values are kept.",
                _named(found),
            )
            written = {slot.index for slot in found}
        self._bring_back(written)
        torch.clear_autocast_cache()
        self.is_in = False

    def _shared_twice(self) -> list[Slot]:
        """List the parameters of which others have both the clean memory and the perturbed copy."""
        triples = zip(self.slots, self._clean, self._buffers, strict=True)
        return [
            slot
            for slot, clean, buffer in triples
            if is_shared(buffer) and (is_shared(clean) or is_viewed(clean, 2))
        ]

    def _follow_views(self, written: set[int]) -> None:
        """Where somebody has taken a view of a perturbed copy, make that the parameter's memory.

        So a view stays one of the parameter, whenever it was taken, and so does what another
        process was sent. Where there are views of both, the older ones count.
        """
        for place, index in enumerate(self.indices):
            clean, buffer = self._clean[place], self._buffers[place]
            is_sent = is_shared(buffer)
            if index in written or not (is_sent or is_viewed(buffer, 3)):
                continue
            if is_viewed(clean, 2) or is_shared(clean):
                if is_sent:  # left to others, who get the clean weights of now
                    self._buffers[place] = torch.empty_like(clean)
                    buffer.copy_(clean)
                continue
            buffer.copy_(clean)
            self._clean[place], self._buffers[place] = buffer, clean
            self._may_exchange &= is_sent

    def _bring_back(self, written: set[int]) -> None:
        """Bring the clean weights back, but for parameters with these numbers, which stay."""
        if self._exchanges:
            self._follow_views(written)
        triples = zip(self.indices, self.parameters, self._clean, strict=True)
        pairs = [(p, clean) for index, p, clean in triples if index not in written]
        parameters, clean = [p for p, _ in pairs], [values for _, values in pairs]
        if not self._exchanges:
            _copy(parameters, clean)
            return
        _give_data(parameters, clean)
        for index in written:
            place = self._positions[index]
            parameter, own = self.parameters[place], self._clean[place]
            if parameter.data_ptr() == self._buffers[place].data_ptr():
                own.copy_(parameter.data)
                _give_data([parameter], [own])


def checksums(tensors: Sequence[Tensor]) -> Tensor:
    """Compute a checksum of all bits of each tensor, (K,) int64 on the CPU.

    It tells apart tensors of one kind; two devices or dtypes have checksums of their own.
    """
    if tensors and can_check(tensors):
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


def _name(slot: Slot) -> str:
    return slot.name or f"number {slot.index}"


def _named(slots: Sequence[Slot]) -> str:
    first = _name(slots[0])
    more = f" and {len(slots) - 1} more" if len(slots) > 1 else ""
    return f"{len(slots)} parameters ({first}{more})"


def _refuse_shared(slots: Sequence[Slot]) -> None:
    """Refuse two parameters in the same memory, which would be perturbed twice.

    Raises:
        UsageError: There are such.
    """
    first: dict[int, Slot] = {}
    for slot in slots:
        if type(slot.parameter) not in PLAIN or not slot.parameter.numel():
            continue
        other = first.setdefault(slot.parameter.data_ptr(), slot)
        if other is not slot:
            raise UsageError(
                f"{_name(other)} and {_name(slot)} are two parameters in the same memory; tie them "
                "as one parameter (b.weight = a.weight), or leave one out by params=."
            )


def _fills_its_memory(parameter: Tensor) -> bool:
    return parameter.untyped_storage().nbytes() == parameter.nbytes


def _give_data(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Let parameters point to other memory; a gradient that needs the values before is refused."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.data = value
        increment_version(parameter)


def _are_alike(some: list[Tensor], others: list[Tensor]) -> bool:
    """Whether the tensors of each pair have the same shape, dtype and device."""
    return len(some) == len(others) and all(
        a.shape == b.shape and a.dtype is b.dtype and a.device == b.device
        for a, b in zip(some, others, strict=True)
    )


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    if not targets:
        return
    is_large = sum(source.nbytes for source in sources) >= _LARGE
    if is_large and _are_alike(targets, sources) and can_add(targets, sources):
        copy_native(targets, sources)
    else:
        torch._foreach_copy_(targets, sources)
