"""Hooks around the optimizer's step: they find the gradients and call the core.

A step may get a closure that takes the gradients. It is replaced by one that calls the core when
the gradients are there; for an exact SAM rule it takes a second gradient at the climbed weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch._compile import _disable_dynamo

from antifragile.errors import UsageError
from antifragile.optim.attach.hooks.model import frozen_statistics
from antifragile.optim.attach.perturbed_optimizer import PerturbedOptimizer
from antifragile.optim.attach.selection import parameters_of

Closure = Callable[[], Any]
_HOOKED = torch.optim.Optimizer.profile_hook_step.__code__.co_filename
_MARK = 6e4  # larger than any gradient, and a number in float16 too


class StepHooks:
    """The hooks of one perturbed optimizer around its step, all in ``hooks``."""

    def __init__(self, core: PerturbedOptimizer) -> None:
        self._core = core
        self._is_skipping = False
        self.hooks = [
            core.optimizer.register_step_pre_hook(self._before_step),
            core.optimizer.register_step_post_hook(self._after_step),
        ]

    @_disable_dynamo
    def _before_step(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if _is_nested(optimizer):
            return None
        self._core.follow_new_groups()
        self._is_skipping = _only_makes_state(optimizer, kwargs)
        if self._is_skipping:
            self._core.lift()
            return None
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
            mark = _Mark(self._core) if self._core.exact else nullcontext()
            with mark, torch.enable_grad():
                loss = closure()
            if self._core.climb():
                self._clear_gradients()
                with torch.enable_grad(), frozen_statistics(self._core.model):
                    closure()
            self._gradients_are_ready()
            return loss

        return wrapped

    def _clear_gradients(self) -> None:
        """Forget the gradients of the first pass, also where the closure does not."""
        model = self._core.model
        others = [] if model is None else list(model.parameters())
        for parameter in (*parameters_of(self._core.optimizer), *others):
            parameter.grad = None

    def _gradients_are_ready(self) -> None:
        """Call the core, unless a gradient scaler has found that the (fused) step is skipped."""
        optimizer = self._core.optimizer
        found_inf = getattr(optimizer, "found_inf", None)
        self._is_skipping = found_inf is not None and float(found_inf) > 0
        if not self._is_skipping:
            scale = getattr(optimizer, "grad_scale", None)  # where the step itself unscales
            self._core.before_step(grad_scale=1.0 if scale is None else float(scale))

    @_disable_dynamo
    def _after_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        if _is_nested(optimizer):
            return
        if self._is_skipping:
            self._core.put_in_early()
        else:
            self._core.after_step()
        self._is_skipping = False


def _is_nested(optimizer: torch.optim.Optimizer) -> bool:
    """Whether another step of the same optimizer is under way, as where ``step`` calls its base's.

    Torch puts its hooks around both.
    """
    n_steps, frame = 0, sys._getframe(1)
    while frame is not None and n_steps < 2:
        code = frame.f_code
        if code.co_name == "wrapper" and code.co_filename == _HOOKED:
            n_steps += frame.f_locals.get("self") is optimizer
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return n_steps > 1


def _only_makes_state(optimizer: torch.optim.Optimizer, kwargs: dict[str, Any]) -> bool:
    """Whether this is the step by which `torch.distributed.checkpoint` makes an optimizer's state.

    It is the first one, with a learning rate of zero and gradients of zero for all parameters.
    """
    if optimizer.state or kwargs.get("closure", ...) is not None:
        return False
    if any("lr" not in group or float(group["lr"]) for group in optimizer.param_groups):
        return False
    parameters = [p for p in parameters_of(optimizer) if p.requires_grad]
    return all(p.grad is not None and not p.grad.any() for p in parameters)


class _Mark:
    """A large number in a gradient that was there before a closure; one that clears it is wiped.

    A closure that adds to the gradients of earlier batches shows an exact SAM rule the gradient of
    all of them, but repeats only its own batch at the climbed weights.

    Args:
        core: The perturbed optimizer.
    """

    def __init__(self, core: PerturbedOptimizer) -> None:
        self._marked = next((p for a in core.exact for p in a.parameters if _is_there(p)), None)
        if self._marked is not None and self._marked.grad is not None:
            self._first = self._element(self._marked.grad).clone()
            self._element(self._marked.grad).fill_(_MARK)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Take the mark away, unless the closure did.

        Raises:
            UsageError: The closure added to the gradients that were there.
        """
        if self._marked is None or (gradient := self._marked.grad) is None:
            return
        if float(self._element(gradient).abs()) < _MARK / 2:
            return
        self._element(gradient).sub_(_MARK).add_(self._first)
        if kind is not None:
            return
        raise UsageError(
            "an exact SAM rule takes the whole gradient twice, and the closure added to gradients "
            "of earlier batches (accumulation), or took none; clear and take them in the closure, "
            "or use sam_lagged."
        )

    @staticmethod
    def _element(gradient: torch.Tensor) -> torch.Tensor:
        return gradient[(0,) * gradient.ndim]


def _is_there(parameter: torch.Tensor) -> bool:
    """Whether a parameter has a gradient that is not zero."""
    return parameter.grad is not None and bool(parameter.grad.any())
