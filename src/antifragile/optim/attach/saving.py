"""The state of a perturbation: a few numbers and tensors, saved inside the optimizer's own state.

It travels in the first parameter group of ``optimizer.state_dict()``, which every optimizer saves
and loads unchanged. So rules find it whether they are attached before loading or after.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from antifragile.errors import CheckpointError
from antifragile.optim.attach.attached_rule import AttachedRule
from antifragile.optim.attach.clean_weights import bits_of
from antifragile.optim.attach.perturbed_optimizer import PerturbedOptimizer

_KEY = "antifragile"
_FORMAT = 1


class HandleState(dict[str, Any]):
    """Plain numbers, strings, lists and tensors: `torch.load` reads it with ``weights_only``.

    The rules' states are a tuple, which `torch.distributed.checkpoint` loads as a whole. Of lists
    and mappings it loads the tensors that are there before, and a fresh rule has none yet.
    """

    @classmethod
    def of(cls, core: PerturbedOptimizer) -> HandleState:
        """Collect the present state."""
        core.follow_new_groups()
        core.put_in_early()
        return cls(
            format=_FORMAT,
            step=core.step_number,
            forwards=core.inputs.n_perturbed,
            seeds=list(core.seeds),
            per_rank=core.per_rank,
            replicas=core.replicas,
            parameters=core.n_parameters,
            rules=[rule.signature for rule in core.rules],
            names=core.names,
            states=tuple(_rule_state(attached) for attached in core.attached),
            checksums=_checksums(core),
        )


def load(core: PerturbedOptimizer, state: dict[str, Any]) -> None:
    """Continue from a saved state.

    Raises:
        CheckpointError: The state is of other rules, parameters or replicas, or the weights were
            saved with the perturbation in them.
    """
    core.lift(accept_writes=True)
    _check(core, state)
    core.step_number, core.inputs.n_perturbed = int(state["step"]), int(state["forwards"])
    core.seeds, core.per_rank = tuple(state["seeds"]), bool(state["per_rank"])
    for attached, saved in zip(core.attached, state["states"], strict=True):
        _load_rule(attached, saved)
    core.put_in_early()


def load_waiting(core: PerturbedOptimizer) -> None:
    """Continue from the state of a checkpoint that the optimizer loaded before `perturb`, if any.

    Raises:
        CheckpointError: As for `load`.
    """
    group = core.optimizer.param_groups[0]
    if isinstance(group.get(_KEY), dict):
        load(core, group[_KEY])
        group[_KEY] = True


class StateHooks:
    """The hooks of one perturbed optimizer around its saving and loading, all in ``hooks``."""

    def __init__(self, core: PerturbedOptimizer) -> None:
        self._core = core
        self._show()
        self._incoming: dict[str, Any] | None = None
        self.hooks = [
            core.optimizer.register_state_dict_post_hook(self._after_saving),
            core.optimizer.register_load_state_dict_pre_hook(self._before_loading),
            core.optimizer.register_load_state_dict_post_hook(self._after_loading),
            self,
        ]

    def remove(self) -> None:
        """Take our key out of the parameter group."""
        group = self._core.optimizer.param_groups[0]
        if group.get(_KEY) is True:  # a state that waits for its rules stays
            del group[_KEY]

    def _show(self) -> None:
        """Put our key into the parameter group: flattened states load the keys that are there."""
        self._core.optimizer.param_groups[0].setdefault(_KEY, True)

    def _after_saving(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        state["param_groups"][0][_KEY] = dict(HandleState.of(self._core))

    def _before_loading(
        self, optimizer: torch.optim.Optimizer, state: dict[str, Any]
    ) -> dict[str, Any]:
        groups = [dict(group) for group in state["param_groups"]]
        self._incoming = groups[0].pop(_KEY, None) if groups else None
        if self._incoming is not None:
            _check(self._core, self._incoming)
        return {**state, "param_groups": groups}

    def _after_loading(self, optimizer: torch.optim.Optimizer) -> None:
        incoming, self._incoming = self._incoming, None
        self._show()
        if incoming is None:  # a checkpoint of an unperturbed run: the perturbation begins here
            self._core.lift(accept_writes=True)
            self._core.restart()
            self._core.put_in_early()
        else:
            load(self._core, incoming)


def _rule_state(attached: AttachedRule) -> dict[str, Any]:
    memory = attached.memory
    kept = {memory.saved_as: [t.clone() for t in memory.tensors]} if memory.tensors else {}
    return {
        "value": attached.value,
        "sizes": list(attached.sizes),
        "sizes_before": None if attached.sizes_before is None else list(attached.sizes_before),
        "controller": {key: torch.from_numpy(a.copy()) for key, a in attached.controller.items()},
        "kept": kept,
    }


def _load_rule(attached: AttachedRule, saved: dict[str, Any]) -> None:
    device = attached.slots[0].parameter.device if attached.slots else torch.device("cpu")

    def moved(value: float | Tensor) -> float | Tensor:
        return value.to(device) if isinstance(value, Tensor) else value

    attached.value = moved(saved["value"])
    attached.sizes = [moved(size) for size in saved["sizes"]]
    before = saved["sizes_before"]
    attached.sizes_before = None if before is None else [moved(size) for size in before]
    attached.controller = {
        key: value.cpu().numpy().copy() for key, value in saved["controller"].items()
    }
    tensors = saved["kept"].get(attached.memory.saved_as)
    if tensors is not None:
        pairs = zip(tensors, attached.slots, strict=True)
        tensors = [t.to(slot.parameter).clone() for t, slot in pairs]
    attached.memory.tensors = tensors
    attached.read_groups()


def _check(core: PerturbedOptimizer, state: dict[str, Any]) -> None:
    if state.get("format") != _FORMAT:
        raise CheckpointError(
            f"the perturbation's saved state has format {state.get('format')!r}; this version "
            f"reads {_FORMAT}."
        )
    for key, ours in (
        ("rules", [rule.signature for rule in core.rules]),
        ("replicas", core.replicas),
        ("parameters", core.n_parameters),
    ):
        if state[key] != ours:
            raise CheckpointError(
                f"the saved perturbation has {key} {state[key]!r}, this one {ours!r}; attach the "
                "same, or take 'antifragile' out of the saved state's first parameter group."
            )
    names = state.get("names")  # older states have none
    if names is not None and core.names is not None and names != core.names:
        moved = next(
            n for n, pair in enumerate(zip(names, core.names, strict=True)) if pair[0] != pair[1]
        )
        raise CheckpointError(
            f"parameter number {moved} is {names[moved]!r} in the saved perturbation and "
            f"{core.names[moved]!r} here, so that memory and noise of one would act on the other; "
            "give the optimizer its parameters in the saved order."
        )
    sums = state["checksums"]
    if sums and sums["clean"] != sums["perturbed"] and _clean_checksum(core) == sums["perturbed"]:
        raise CheckpointError(
            "the weights were saved with the perturbation in them; save inside handle.clean(), or "
            "pass model= to perturb()."
        )


def _checksums(core: PerturbedOptimizer) -> dict[str, int] | None:
    """Checksums of clean and perturbed weights; None where a model's hooks save clean ones."""
    if core.model is not None or not core.weights.is_in:
        return None
    return {
        "clean": checksum(core.weights.clean_weights()),
        "perturbed": checksum(core.weights.parameters),
    }


def _clean_checksum(core: PerturbedOptimizer) -> int:
    """Checksum of the weights as they would be without our perturbation."""
    written = {slot.index for slot in core.weights.overwritten()}
    pairs = zip(core.weights.slots, core.weights.clean_weights(), strict=True)
    return checksum([s.parameter.detach() if s.index in written else c for s, c in pairs])


def checksum(tensors: list[Tensor]) -> int:
    """Sum over the bits of all elements, equal for equal weights."""
    total = 0
    for number, tensor in enumerate(tensors, start=1):
        bits = bits_of(tensor.detach())
        total = (total + number * int(bits.sum(dtype=torch.int64))) % 2**63
    return total
