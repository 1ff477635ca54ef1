"""Slots: the optimizer's parameters with number, name and group, and the choice of a rule's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from antifragile.errors import UsageError
from antifragile.optim.rules import Rule

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Slot:
    """One parameter of an optimizer.

    Args:
        index: Position over all groups, which is its number in the random streams.
        name: Name from the model, or from an optimizer that was given names; else None.
        parameter: The tensor.
        optimizer: The optimizer that updates it.
        group_number: Position of its parameter group in the optimizer.
        is_norm: Whether it belongs to a norm layer of the model.
    """

    index: int
    name: str | None
    parameter: Tensor
    optimizer: torch.optim.Optimizer
    group_number: int
    is_norm: bool = False

    @property
    def group(self) -> dict[str, Any]:
        """The parameter group as it is now; loading a state replaces the dict."""
        group: dict[str, Any] = self.optimizer.param_groups[self.group_number]
        return group

    @property
    def betas(self) -> tuple[float, float]:
        """Decay rates of Adam's moments; its defaults where the optimizer has none."""
        first, second = self.group.get("betas", (0.9, 0.999))
        return first, second

    @property
    def state(self) -> dict[str, Any]:
        """The optimizer's state of this parameter; empty before its first step."""
        state: dict[str, Any] = self.optimizer.state.get(self.parameter, {})
        return state

    def moment(self, names: Sequence[str]) -> Tensor | None:
        """Look up the first of these names that is a tensor in the optimizer's state."""
        state = self.state
        for name in names:
            value = state.get(name)
            if isinstance(value, Tensor):
                return value
        return None


def dense_gradients(slots: Sequence[Slot]) -> dict[int, Tensor]:
    """Collect the gradients there are, by position among the slots.

    Raises:
        UsageError: A gradient is sparse.
    """
    found = {}
    for i, slot in enumerate(slots):
        gradient = slot.parameter.grad
        if gradient is None:
            continue
        if gradient.is_sparse:
            raise UsageError(
                f"the gradient of parameter {slot.name or f'number {slot.index}'} is sparse, and "
                "perturbations are dense; leave it out by params=."
            )
        found[i] = gradient
    return found


def group_factor(group: dict[str, Any], learning_rate_power: float) -> float:
    """Compute the factor by which a parameter group multiplies a rule's scale.

    Raises:
        UsageError: The group's ``perturb`` is no number of at least zero.
    """
    share = group.get("perturb", 1.0)
    if not isinstance(share, (bool, int, float)) or not 0 <= share < float("inf"):
        raise UsageError(
            f"a parameter group has perturb={share!r}; expected False, True or a number of at "
            "least 0 that multiplies the scale of every rule."
        )
    if learning_rate_power == 0:
        return float(share)
    return float(share * float(group["lr"]) ** learning_rate_power)


def parameters_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """List the parameters of all groups of an optimizer, in its order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def slots_of(optimizer: torch.optim.Optimizer, model: nn.Module | None) -> list[Slot]:
    """List every parameter of the optimizer, in its order."""
    names: dict[int, str] = {}
    norms: set[int] = set()
    if model is not None:
        names = {id(p): name for name, p in model.named_parameters()}
        layers = [module for module in model.modules() if isinstance(module, _NORMS)]
        norms = {id(p) for layer in layers for p in layer.parameters(recurse=False)}
    slots: list[Slot] = []
    for number, group in enumerate(optimizer.param_groups):
        given = group.get("param_names") or [None] * len(group["params"])
        for parameter, name in zip(group["params"], given, strict=True):
            slot = Slot(
                index=len(slots),
                name=names.get(id(parameter), name),
                parameter=parameter,
                optimizer=optimizer,
                group_number=number,
                is_norm=id(parameter) in norms,
            )
            slots.append(slot)
    return slots


def is_sharded(parameter: Tensor) -> bool:
    """Whether FSDP keeps a parameter in parts, or several parameters in one."""
    return getattr(parameter, "_is_flat_param", False) or hasattr(parameter, "_fsdp_flattened")


def select(rule: Rule, slots: list[Slot], *, replicas: int | None) -> list[Slot]:
    """Choose the slots that a rule acts on.

    Raises:
        UsageError: Names are needed and unknown, no parameter is selected, or a selected one is
            sparse or not real.
    """
    chosen = [slot for slot in slots if _is_selected(rule, slot, replicas)]
    if not chosen:
        for slot in slots:
            if is_sharded(slot.parameter):  # flat, so that none looks like a matrix
                _check(slot, replicas)
        raise UsageError(
            f"the rule on {str(rule.where)!r} with params={rule.params!r} selects none of the "
            f"{len(slots)} parameters."
        )
    for slot in chosen:
        _check(slot, replicas)
    return chosen


def _is_selected(rule: Rule, slot: Slot, replicas: int | None) -> bool:
    if rule.params is None:
        return True
    if rule.params == "matrices":
        return slot.parameter.ndim - (replicas is not None) >= 2 and not slot.is_norm
    if slot.name is None:
        raise UsageError(
            "a rule selects parameters by name, and the optimizer knows none; pass model=, or "
            "build the optimizer from model.named_parameters()."
        )
    if callable(rule.params):
        return bool(rule.params(slot.name, slot.parameter))
    return re.search(rule.params, slot.name) is not None


def _check(slot: Slot, replicas: int | None) -> None:
    parameter, name = slot.parameter, slot.name or f"number {slot.index}"
    if type(parameter) not in (Tensor, nn.Parameter) or is_sharded(parameter):
        raise UsageError(
            f"parameter {name} is a {type(parameter).__name__}, whose values are not all in one "
            "plain tensor of this process (as with FSDP or quantisation); leave it out by params=, "
            "or train without sharding."
        )
    if parameter.is_sparse or not parameter.is_floating_point():
        kind = "sparse" if parameter.is_sparse else str(parameter.dtype)
        raise UsageError(
            f"parameter {name} is {kind}, and only dense real parameters can be perturbed; leave "
            "it out by params=."
        )
    if replicas is not None and (parameter.ndim < 1 or len(parameter) != replicas):
        raise UsageError(
            f"parameter {name} has shape {tuple(parameter.shape)}; with replicas={replicas} every "
            f"parameter needs a leading dimension of {replicas}."
        )
