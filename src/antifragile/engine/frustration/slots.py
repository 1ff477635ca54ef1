"""States of a model in memory: one copy for each state that a promotion rule keeps.

Copies are made once and overwritten in place, so that the model, its optimizer and its wrappers
keep their tensors. Under the greedy rule there is one copy, the LKG.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from antifragile.engine.policies import StateSlot

Copies = tuple[tuple[StateSlot, StateSlot], ...]


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """List parameters and buffers by name, each stored tensor once."""
    found: dict[str, Tensor] = {}
    seen: set[tuple[int, int, torch.Size]] = set()
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        key = (value.untyped_storage().data_ptr(), int(value.storage_offset()), value.shape)
        if key not in seen or value.numel() == 0:
            seen.add(key)
            found[name] = value.detach()
    return found


class StateSlots:
    """Copies of a model's parameters and buffers.

    Args:
        model: The model. Its tensors are looked up at every use, since training may exchange them
            (``p.data = ...``, a buffer that is assigned anew).
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._copies: dict[StateSlot, dict[str, Tensor]] = {}

    @torch.no_grad()
    def copy(self, pairs: Copies, filled: Iterable[StateSlot]) -> None:
        """Copy states in order, then let go of those that are no longer filled.

        Args:
            pairs: Slots (from, to); CANDIDATE is the model itself.
            filled: Slots that hold a state afterwards.
        """
        for source, place in pairs:
            self._write(self.tensors(source), place)
        kept = set(filled)
        self._copies = {slot: copy for slot, copy in self._copies.items() if slot in kept}

    @torch.no_grad()
    def load(self, slot: StateSlot) -> None:
        """Copy a state into the model."""
        own = tensors_of(self._model)
        for name, value in self._copies[slot].items():
            own[name].copy_(value)

    def tensors(self, slot: StateSlot) -> dict[str, Tensor]:
        """Return the tensors of a state by name; of CANDIDATE the model's own."""
        return tensors_of(self._model) if slot is StateSlot.CANDIDATE else self._copies[slot]

    @property
    def filled(self) -> list[StateSlot]:
        """Slots that hold a copy."""
        return list(self._copies)

    @torch.no_grad()
    def put(self, slot: StateSlot, tensors: dict[str, Tensor]) -> None:
        """Fill a slot with tensors from a file."""
        self._write(tensors, slot)

    def _write(self, tensors: dict[str, Tensor], place: StateSlot) -> None:
        if place not in self._copies:
            own = tensors_of(self._model)
            self._copies[place] = {name: torch.empty_like(value) for name, value in own.items()}
        for name, value in tensors.items():
            self._copies[place][name].copy_(value)
