"""The state of a handle: a few numbers, saved inside the optimizer's own state.

It travels in the first parameter group of ``optimizer.state_dict()``, which every optimizer loads
and keeps; so it is found by a handle that is attached before loading, and by one that is attached
after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from antifragile.errors import CheckpointError
from antifragile.optim.attach.history import Kept

if TYPE_CHECKING:
    from antifragile.optim.attach.attached_rule import AttachedRule
    from antifragile.optim.attach.handle import Handle

_KEY = "antifragile"
_FORMAT = 1
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class HandleState(dict[str, Any]):
    """Plain numbers, strings, lists and tensors: `torch.load` reads it with ``weights_only``."""

    @classmethod
    def of(cls, handle: Handle) -> HandleState:
        """Of a handle as it is; changes nothing."""
        return cls(
            format=_FORMAT,
            step=handle.step_number,
            forwards=handle.forwards,
            seeds=list(handle.seeds),
            per_rank=handle.per_rank,
            replicas=handle.replicas,
            parameters=handle.n_parameters,
            rules=[rule.signature for rule in handle.rules],
            states=[_rule_state(attached) for attached in handle.attached],
            checksums=_checksums(handle),
        )


def adopt(handle: Handle, state: dict[str, Any]) -> None:
    """Take a saved state over; the weights must be lifted.

    Raises:
        CheckpointError: It is of other rules, parameters or replicas, or the weights were saved
            with the perturbation in them.
    """
    _check(handle, state)
    handle.step_number, handle.forwards = int(state["step"]), int(state["forwards"])
    handle.seeds, handle.per_rank = tuple(state["seeds"]), bool(state["per_rank"])
    for attached, saved in zip(handle.attached, state["states"], strict=True):
        _adopt_rule(attached, saved)


class StateHooks:
    """Saving and loading with the optimizer."""

    def __init__(self, handle: Handle, optimizer: torch.optim.Optimizer) -> None:
        self._handle, self._optimizer = handle, optimizer
        self._incoming: dict[str, Any] | None = None
        self._hooks = [
            optimizer.register_state_dict_post_hook(self._after_saving),
            optimizer.register_load_state_dict_pre_hook(self._before_loading),
            optimizer.register_load_state_dict_post_hook(self._after_loading),
        ]

    def remove(self) -> None:
        """Take the hooks away."""
        for hook in self._hooks:
            hook.remove()

    def adopt_waiting(self) -> None:
        """Take over a state that was loaded before the handle was attached."""
        group = self._optimizer.param_groups[0]
        if _KEY not in group:
            return
        try:
            self._handle.load_state_dict(HandleState(group[_KEY]))
        except CheckpointError:
            self._handle.remove()
            raise
        del group[_KEY]

    def _after_saving(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        state["param_groups"][0][_KEY] = dict(HandleState.of(self._handle))

    def _before_loading(
        self, optimizer: torch.optim.Optimizer, state: dict[str, Any]
    ) -> dict[str, Any]:
        groups = [dict(group) for group in state["param_groups"]]
        self._incoming = groups[0].pop(_KEY, None) if groups else None
        if self._incoming is not None:
            _check(self._handle, self._incoming)
        return {**state, "param_groups": groups}

    def _after_loading(self, optimizer: torch.optim.Optimizer) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is None:  # a checkpoint of an unperturbed run: the perturbation begins here
            incoming = self._fresh()
        self._handle.load_state_dict(HandleState(incoming))

    def _fresh(self) -> HandleState:
        self._handle.lift(accept_writes=True)
        self._handle.restart()
        return HandleState.of(self._handle)


def _rule_state(attached: AttachedRule) -> dict[str, Any]:
    kept = {name: getattr(attached.kept, name) for name in Kept.NAMES}
    return {
        "value": attached.value,
        "sizes": list(attached.sizes),
        "sizes_before": None if attached.sizes_before is None else list(attached.sizes_before),
        "controller": {key: torch.from_numpy(a.copy()) for key, a in attached.controller.items()},
        "kept": {n: [t.clone() for t in tensors] for n, tensors in kept.items() if tensors},
    }


def _adopt_rule(attached: AttachedRule, saved: dict[str, Any]) -> None:
    def onto(value: Any) -> Any:
        device = attached.slots[0].parameter.device if attached.slots else torch.device("cpu")
        return value.to(device) if isinstance(value, Tensor) else value

    attached.value = onto(saved["value"])
    attached.sizes = [onto(size) for size in saved["sizes"]]
    before = saved["sizes_before"]
    attached.sizes_before = None if before is None else [onto(size) for size in before]
    attached.controller = {
        key: value.cpu().numpy().copy() for key, value in saved["controller"].items()
    }
    for name in Kept.NAMES:
        tensors = saved["kept"].get(name)
        if tensors is not None:
            pairs = zip(tensors, attached.slots, strict=True)
            tensors = [t.to(slot.parameter).clone() for t, slot in pairs]
        setattr(attached.kept, name, tensors)


def _check(handle: Handle, state: dict[str, Any]) -> None:
    if state.get("format") != _FORMAT:
        raise CheckpointError(
            f"the perturbation's saved state has format {state.get('format')!r}; this version "
            f"reads {_FORMAT}."
        )
    for key, ours in (
        ("rules", [rule.signature for rule in handle.rules]),
        ("replicas", handle.replicas),
        ("parameters", handle.n_parameters),
    ):
        if state[key] != ours:
            raise CheckpointError(
                f"the saved perturbation has {key} {state[key]!r}, this one {ours!r}; attach the "
                "same, or take 'antifragile' out of the saved state's first parameter group."
            )
    sums = state["checksums"]
    if sums and sums["clean"] != sums["perturbed"] and _now(handle) == sums["perturbed"]:
        raise CheckpointError(
            "the weights were saved with the perturbation in them; save inside handle.clean(), or "
            "pass model= to perturb()."
        )


def _checksums(handle: Handle) -> dict[str, int] | None:
    """Of clean and perturbed weights, where no model sees to clean saving."""
    if handle.model is not None or not handle.weights.is_in:
        return None
    return {
        "clean": checksum(handle.weights.clean_weights()),
        "perturbed": checksum(handle.weights.parameters),
    }


def _now(handle: Handle) -> int:
    """The checksum of the weights as they would be without our perturbation."""
    written = {slot.index for slot in handle.weights.overwritten()}
    pairs = zip(handle.weights.slots, handle.weights.clean_weights(), strict=True)
    return checksum([s.parameter.detach() if s.index in written else c for s, c in pairs])


def checksum(tensors: list[Tensor]) -> int:
    """A sum over the bits of all elements, equal for equal weights."""
    total = 0
    for number, tensor in enumerate(tensors, start=1):
        bits = tensor.detach().contiguous().view(_INTEGERS[tensor.element_size()])
        total = (total + number * int(bits.sum(dtype=torch.int64))) % 2**63
    return total
