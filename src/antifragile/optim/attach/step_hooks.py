"""Hooks around the optimizer's step: they find the gradients and call the core.

A step may get a closure that takes the gradients. It is replaced by one that calls the core when
the gradients are there; for an exact SAM rule it takes a second gradient at the climbed weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from antifragile.errors import UsageError
from antifragile.optim.attach.model_hooks import frozen_statistics
from antifragile.optim.attach.perturbed_optimizer import PerturbedOptimizer

Closure = Callable[[], Any]


class StepHooks:
    """The hooks of one perturbed optimizer around its step, all in ``hooks``."""

    def __init__(self, core: PerturbedOptimizer) -> None:
        self._core = core
        self._is_skipping = False
        self.hooks = [
            core.optimizer.register_step_pre_hook(self._before_step),
            core.optimizer.register_step_post_hook(self._after_step),
        ]

    def _before_step(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._core.follow_new_groups()
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            if self._core.exact:
                raise UsageError(
                    "an exact SAM rule takes a second gradient and needs optimizer.step(closure); "
                    "got no closure. Use sam_lagged or asam_lagged for a loop without one."
                )
            self._gradients_are_ready()
            return None
        wrapped = self._wrap(closure)
        if len(args) > 1:
            return (args[0], wrapped, *args[2:]), kwargs
        return args, {**kwargs, "closure": wrapped}

    def _wrap(self, closure: Closure) -> Closure:
        """Make a closure that leaves the gradients as the optimizer should see them."""
        calls = 0

        def wrapped() -> Any:
            nonlocal calls
            calls += 1
            if calls > 1:
                name = type(self._core.optimizer).__name__
                raise UsageError(
                    f"{name} calls its closure more than once in a step; perturbations need an "
                    "optimizer that takes one gradient per step."
                )
            with torch.enable_grad():
                loss = closure()
            if self._core.climb():
                with torch.enable_grad(), frozen_statistics(self._core.model):
                    closure()
            self._gradients_are_ready()
            return loss

        return wrapped

    def _gradients_are_ready(self) -> None:
        """Call the core, unless a gradient scaler has found that the (fused) step is skipped."""
        optimizer = self._core.optimizer
        found_inf = getattr(optimizer, "found_inf", None)
        self._is_skipping = found_inf is not None and float(found_inf) > 0
        if not self._is_skipping:
            scale = getattr(optimizer, "grad_scale", None)  # where the step itself unscales
            self._core.before_step(grad_scale=1.0 if scale is None else float(scale))

    def _after_step(self, *_: object) -> None:
        if not self._is_skipping:
            self._core.after_step()
        self._is_skipping = False
