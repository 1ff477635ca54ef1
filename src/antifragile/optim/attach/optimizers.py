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
_INNER = ("optimizer", "original_optimizer", "base_optimizer")


def check_optimizer(optimizer: torch.optim.Optimizer, rules: Sequence[Rule]) -> None:
    """Refuse an optimizer that cannot be perturbed by these rules.

    Raises:
        UsageError: It wraps another one, takes several gradients in a step, or keeps moments that a
            rule would have to know.
    """
    name = type(optimizer).__name__
    if not all(hasattr(optimizer, hooks) for hooks in _HOOKS):
        inner = next((i for i in _INNER if hasattr(optimizer, i)), None)
        which = f"the one inside: perturb(wrapper.{inner}, ...)" if inner else "the one it wraps"
        raise UsageError(f"{name} wraps an optimizer and has no hooks of its own; perturb {which}.")
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


def strays_from_langevin(optimizer: torch.optim.Optimizer, rule: Rule) -> bool:
    """Whether Langevin noise beside this optimizer samples another distribution than the usual."""
    if not isinstance(rule.schedule, Langevin) or isinstance(rule.noise, Preconditioned):
        return False
    momentum = any(group.get("momentum") for group in optimizer.param_groups)
    return not isinstance(optimizer, optim.SGD) or momentum
