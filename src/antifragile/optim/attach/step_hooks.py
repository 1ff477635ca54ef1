"""The step that an optimizer and its perturbation make together, through the optimizer's hooks.

    before the optimizer's step   look at the gradients; take the perturbation out of the weights;
                                  add gradient noise
    the optimizer's own step
    after it                      add noise to the weights for good; put the perturbation of the
                                  next gradient in

An exact SAM step needs a second gradient and swaps the closure for one that takes both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from antifragile.errors import UsageError
from antifragile.optim.attach.adding import add_for_good, add_to_gradients, add_to_weights
from antifragile.optim.attach.model_hooks import frozen_statistics
from antifragile.optim.rules import Place

if TYPE_CHECKING:
    from antifragile.optim.attach.handle import Handle


class StepHooks:
    """The hooks of one handle around its optimizer's step."""

    def __init__(self, handle: Handle, optimizer: torch.optim.Optimizer) -> None:
        self._handle, self._optimizer = handle, optimizer
        self._is_skipping = False
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def remove(self) -> None:
        """Take the hooks away."""
        for hook in self._hooks:
            hook.remove()

    def _before_step(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._handle.follow_new_groups()
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            if self._handle.exact:
                raise UsageError(
                    "an exact SAM rule takes a second gradient and needs optimizer.step(closure); "
                    "got no closure. Use sam_lagged or asam_lagged for a loop without one."
                )
            with torch.no_grad():
                self._gradients_are_ready()
            return None
        taking = self._taking(closure)
        if len(args) > 1:
            return (args[0], taking, *args[2:]), kwargs
        return args, {**kwargs, "closure": taking}

    def _taking(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """A closure that leaves the gradients as the optimizer should see them."""
        calls = 0

        def taking() -> Any:
            nonlocal calls
            calls += 1
            if calls > 1:
                raise UsageError(
                    f"{type(self._optimizer).__name__} calls its closure more than once in a step; "
                    "perturbations need an optimizer that takes one gradient per step."
                )
            with torch.enable_grad():
                loss = closure()
            if self._handle.exact:
                self._second_gradient(closure)
            with torch.no_grad():
                self._gradients_are_ready()
            return loss

        return taking

    @torch.no_grad()
    def _second_gradient(self, closure: Callable[[], Any]) -> None:
        """Climb along the gradient at hand and take the gradient there."""
        handle, weights = self._handle, self._handle.weights
        climbing = [attached for attached in handle.exact if not attached.is_off]
        if not climbing:
            return
        weights.refuse_writes()
        if not weights.is_in:
            weights.store()
        for attached in climbing:
            attached.kept.take_gradients()
            attached.set_sizes()
            add_to_weights(weights, attached, handle.stream(attached))
            attached.kept.directions = None
        weights.seal()
        with torch.enable_grad(), frozen_statistics(handle.model):
            closure()

    def _gradients_are_ready(self) -> None:
        self._is_skipping = _found_inf(self._optimizer)
        if self._is_skipping:
            return
        handle, grad_scale = self._handle, _grad_scale(self._optimizer)
        handle.refuse_clean_gradients()
        for attached in handle.attached:
            later = attached.rule.where in (Place.WEIGHT, Place.INPUT)
            stream = handle.stream(attached, handle.step_number + later)
            attached.look(stream, grad_scale=grad_scale, track=handle.tracks)
            attached.kept.keep_gradients()
        handle.lift()
        for attached in handle.attached:
            attached.kept.precondition(grad_scale=grad_scale)
            if attached.rule.where is Place.GRAD and not attached.is_idle:
                attached.set_sizes()
                add_to_gradients(attached, handle.stream(attached), grad_scale=grad_scale)
                attached.remember_sizes()

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        if self._is_skipping:
            self._is_skipping = False
            return
        handle = self._handle
        for attached in handle.attached:
            if attached.rule.where is Place.STEP and not attached.is_idle:
                attached.set_sizes()
                add_for_good(attached, handle.stream(attached))
                attached.remember_sizes()
        handle.step_number += 1
        handle.forwards = 0
        for attached in handle.transient:
            attached.set_sizes()
        handle.put_in()


def _found_inf(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a gradient scaler has found that the (fused) step will be skipped."""
    found = getattr(optimizer, "found_inf", None)
    return bool(found is not None and float(found) > 0)


def _grad_scale(optimizer: torch.optim.Optimizer) -> float:
    """What gradients are still multiplied by when a fused optimizer unscales them itself."""
    scale = getattr(optimizer, "grad_scale", None)
    return 1.0 if scale is None else float(scale)
