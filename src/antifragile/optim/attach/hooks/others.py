"""Other optimizers on perturbed parameters: one owner per parameter.

A second optimizer that steps a parameter in which a perturbation is would make that perturbation
permanent. It gets the clean weights instead, and its user is told once. A wrapper that steps the
perturbed optimizer inside its own step (Lookahead) gets them as well, which is what it is to have.
"""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from antifragile.errors import UsageError
from antifragile.optim.attach.optimizers import optimizers_inside
from antifragile.optim.attach.perturbed_optimizer import PerturbedOptimizer
from antifragile.optim.attach.selection import parameters_of

logger = logging.getLogger(__name__)

_CORES: weakref.WeakSet[PerturbedOptimizer] = weakref.WeakSet()
_HOOKS: list[Any] = []


class WeightClaim:
    """The claim of a perturbed optimizer on the parameters whose values it changes between steps.

    Args:
        core: The perturbed optimizer.
    """

    def __init__(self, core: PerturbedOptimizer) -> None:
        self._core = core
        _CORES.add(core)
        if not _HOOKS:
            _HOOKS.append(register_optimizer_step_pre_hook(_before_any_step))

    def remove(self) -> None:
        """Give the claim up."""
        _CORES.discard(self._core)
        if not _CORES:
            while _HOOKS:
                _HOOKS.pop().remove()


def check_is_free(optimizer: torch.optim.Optimizer) -> None:
    """Refuse parameters that are perturbed through another optimizer.

    Raises:
        UsageError: They are.
    """
    if not any(_shared(core, optimizer) for core in _CORES):
        return
    gc.collect()  # an optimizer that nobody holds owns nothing
    for core in _CORES:
        if _shared(core, optimizer):
            raise UsageError(
                "the weights of these parameters are perturbed through another optimizer "
                f"({type(core.optimizer).__name__}); call remove() of its handle first."
            )


def _shared(core: PerturbedOptimizer, optimizer: torch.optim.Optimizer) -> int:
    """Number of an optimizer's parameters that another one perturbs."""
    if core.optimizer is optimizer:
        return 0
    owned = {id(parameter) for parameter in core.weights.parameters}
    return sum(id(parameter) in owned for parameter in parameters_of(optimizer))


def _before_any_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    for core in list(_CORES):
        if core.weights.is_in and (number := _shared(core, optimizer)):
            is_wrapper = any(core.optimizer is inner for _, inner in optimizers_inside(optimizer))
            if is_wrapper and core.model is None:
                raise UsageError(
                    f"{type(optimizer).__name__} reads and writes the weights around the steps of "
                    f"{type(core.optimizer).__name__}, which perturbs them at all other times "
                    "where it does not know the model; pass model= to perturb()."
                )
            core.lift()
            if not is_wrapper and optimizer not in core.told:
                core.told.add(optimizer)
                logger.warning(
                    "%s steps %d parameters that are perturbed through another optimizer (%s): it "
                    "gets their clean weights, its gradients were of perturbed ones; call remove() "
                    "of that handle when its training is over.",
                    type(optimizer).__name__,
                    number,
                    type(core.optimizer).__name__,
                )
