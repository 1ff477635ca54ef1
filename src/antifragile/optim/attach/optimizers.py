"""Kinds of optimizers: which can be perturbed, and whose moments are known."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import optim

from antifragile.errors import UsageError
from antifragile.optim.noise.composed import Preconditioned
from antifragile.optim.noise.directed import Toward
from antifragile.optim.rules import Rule
from antifragile.optim.scale.schedules import Langevin

MOMENTA = ("momentum_buffer", "exp_avg")
SQUARES = ("exp_avg_sq", "square_avg")
MOMENTS = (*MOMENTA, *SQUARES, "max_exp_avg_sq", "grad_avg", "exp_inf", "sum", "acc_delta")
"""Names under which the optimizers of `KNOWN` keep moments of a parameter."""

_PRECONDITIONING = (optim.RMSprop, optim.Adam, optim.AdamW, optim.NAdam, optim.RAdam)
KNOWN = (*_PRECONDITIONING, optim.SGD, optim.Adamax, optim.Adagrad, optim.Adadelta)
_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_state_dict_post_hooks")


def check_optimizer(optimizer: torch.optim.Optimizer, rules: Sequence[Rule]) -> None:
    """Refuse an optimizer that cannot be perturbed by these rules.

    Raises:
        UsageError: It wraps another one, takes several gradients in a step, or keeps moments that a
            rule would have to know.
    """
    name = type(optimizer).__name__
    if _is_wrapper(optimizer):
        inside = optimizers_inside(optimizer)
        innermost = [(path, o) for path, o in inside if not optimizers_inside(o)]
        calls = " and ".join(f"perturb(wrapper{path}, ...)" for path, _ in innermost)
        kinds = ", ".join(type(o).__name__ for _, o in innermost) or "of an unknown kind"
        calls = f": {calls}" if calls else ""
        raise UsageError(
            f"{name} wraps an optimizer ({kinds}), which takes the steps; perturb the one "
            f"inside{calls}."
        )
    if isinstance(optimizer, optim.LBFGS):
        raise UsageError(
            f"{name} evaluates its closure more than once in a step; perturbations need an "
            "optimizer that takes one gradient per step."
        )
    for rule in rules:
        if isinstance(rule.noise, Preconditioned):
            _check_is_one_of(optimizer, (*_PRECONDITIONING, optim.SGD), "running squares")
        if isinstance(rule.noise, Toward) and rule.noise.resets_moments:
            _check_is_one_of(optimizer, KNOWN, "moments")


def _check_is_one_of(optimizer: torch.optim.Optimizer, kinds: Sequence[type], tensors: str) -> None:
    if not isinstance(optimizer, tuple(kinds)):
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise UsageError(
            f"a rule needs the {tensors} of the optimizer, and those of "
            f"{type(optimizer).__name__} are not known; use one of {names}."
        )


def optimizers_inside(optimizer: torch.optim.Optimizer) -> list[tuple[str, torch.optim.Optimizer]]:
    """List the optimizers that a wrapper holds, from outside inwards, each with its attribute."""
    found = [("", optimizer)]
    for path, outer in found:  # grows on the way
        for name, value in vars(outer).items():
            if isinstance(value, optim.Optimizer) and all(value is not one for _, one in found):
                found.append((f"{path}.{name}", value))
    return found[1:]


def _is_wrapper(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer has no hooks, or no parameter groups, of its own."""
    if not all(hasattr(optimizer, hooks) for hooks in _HOOKS):
        return True
    inside = optimizers_inside(optimizer)
    return any(inner.param_groups is optimizer.param_groups for _, inner in inside)


def strays_from_langevin(optimizer: torch.optim.Optimizer, rule: Rule) -> bool:
    """Whether Langevin noise beside this optimizer samples another distribution than the usual."""
    if not isinstance(rule.schedule, Langevin) or isinstance(rule.noise, Preconditioned):
        return False
    momentum = any(group.get("momentum") for group in optimizer.param_groups)
    return not isinstance(optimizer, optim.SGD) or momentum
