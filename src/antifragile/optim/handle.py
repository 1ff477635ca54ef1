"""The handle of a perturbed optimizer, and the step they make together.

    before the optimizer's step   look at the gradients; take the perturbation out of the weights;
                                  add gradient noise
    the optimizer's own step
    after it                      add noise to the weights for good; put the perturbation of the
                                  next gradient in

All through the optimizer's hooks: it stays the object it was, and the training loop too. An exact
SAM step needs a second gradient and swaps the closure for one that takes both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from antifragile.errors import UsageError
from antifragile.optim.attached import AttachedRule, gradient_of
from antifragile.optim.metrics import metrics_of
from antifragile.optim.model_hooks import ModelHooks, frozen_statistics
from antifragile.optim.rules import Place, Rule
from antifragile.optim.saving import HandleState, StateHooks, adopt
from antifragile.optim.selection import select, slots_of
from antifragile.optim.streams import Stream
from antifragile.optim.weights import TransientWeights

HANDLE = "_antifragile_handle"
"""The attribute of an optimizer that holds its handle."""


class Handle:
    """What `perturb` returns: the way to clean weights, metrics, state, and out again."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        rules: Sequence[Rule],
        *,
        seeds: tuple[int, ...],
        model: nn.Module | None,
        per_rank: bool,
        replicas: int | None,
        first_step: int = 0,
    ) -> None:
        self.optimizer, self.model = optimizer, model
        self.rules, self.seeds = tuple(rules), seeds
        self.per_rank, self.replicas = per_rank, replicas
        self.step_number = self._first_step = first_step
        self.forwards = 0
        self._attach_rules()
        self.clean_depth = 0
        self._is_skipping = False
        self._tracks = False
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]
        self.state_hooks = StateHooks(self, optimizer)
        self._model_hooks = ModelHooks(self, model) if model is not None else None
        self._prepare()
        self.put_in()

    # --- public --------------------------------------------------------------------------------

    @contextmanager
    def clean(self) -> Iterator[None]:
        """Clean weights inside; the same perturbation again after."""
        self.lift()
        self.clean_depth += 1
        try:
            yield
        finally:
            self.clean_depth -= 1
            self.put_in()

    def remove(self) -> None:
        """Bring the clean weights back and take every hook away."""
        self.lift()
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self.state_hooks.remove()
        if self._model_hooks is not None:
            self._model_hooks.remove()
        if getattr(self.optimizer, HANDLE, None) is self:
            delattr(self.optimizer, HANDLE)

    def metrics(self) -> list[dict[str, Any]]:
        """One dict per rule: what it adds at the moment.

        Returns:
            ``where``, ``scale`` (its value), ``noise_norm``, ``gradient_norm`` (of the last step;
            None before it was first asked for), ``ratio`` of the two, ``controller`` (its state).
            Numbers, or (R,) tensors with replicas.
        """
        self._tracks = True
        return [metrics_of(self, attached, self._stream(attached)) for attached in self.attached]

    def state_dict(self) -> HandleState:
        """Everything a resumed run needs; also inside ``optimizer.state_dict()``."""
        return HandleState.of(self)

    def load_state_dict(self, state: HandleState) -> None:
        """Go on from a saved state; the optimizer's own state must have been loaded before.

        Raises:
            CheckpointError: The state is of other rules, parameters or replicas, or the weights
                were saved with the perturbation in them.
        """
        self.lift(accept_writes=True)
        adopt(self, state)
        self.put_in()

    # --- the step ------------------------------------------------------------------------------

    def _before_step(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._follow_new_groups()
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            if self._exact:
                raise UsageError(
                    "an exact SAM rule takes a second gradient and needs optimizer.step(closure); "
                    "got no closure. Use sam_lagged or asam_lagged for a loop without one."
                )
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
                    f"{type(self.optimizer).__name__} calls its closure more than once in a step; "
                    "perturbations need an optimizer that takes one gradient per step."
                )
            with torch.enable_grad():
                loss = closure()
            if self._exact:
                self._second_gradient(closure)
            self._gradients_are_ready()
            return loss

        return taking

    @torch.no_grad()
    def _second_gradient(self, closure: Callable[[], Any]) -> None:
        """Climb along the gradient at hand and take the gradient there."""
        climbing = [attached for attached in self._exact if not attached.is_off]
        if not climbing:
            return
        self.weights.refuse_writes()
        if not self.weights.is_in:
            self.weights.store()
        for attached in climbing:
            attached.take_gradients()
            attached.set_sizes()
            self._add_to_weights(attached)
            attached.directions = None
        self.weights.seal()
        with torch.enable_grad(), frozen_statistics(self.model):
            closure()

    @torch.no_grad()
    def _gradients_are_ready(self) -> None:
        self._is_skipping = _found_inf(self.optimizer)
        if self._is_skipping:
            return
        grad_scale = _grad_scale(self.optimizer)
        if self._model_hooks is not None:
            self._model_hooks.refuse_clean_gradients()
        for attached in self.attached:
            later = attached.rule.where in (Place.WEIGHT, Place.INPUT)
            stream = self._stream(attached, self.step_number + later)
            attached.look(stream, grad_scale=grad_scale, track=self._tracks)
            attached.keep_gradients()
        self.lift()
        for attached in self.attached:
            attached.precondition(grad_scale=grad_scale)
            if attached.rule.where is Place.GRAD and not attached.is_idle:
                attached.set_sizes()
                self._add_to_gradients(attached, grad_scale)
                attached.remember_sizes()

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        if self._is_skipping:
            self._is_skipping = False
            return
        for attached in self.attached:
            if attached.rule.where is Place.STEP and not attached.is_idle:
                attached.set_sizes()
                self._add_for_good(attached)
                attached.remember_sizes()
        self.step_number += 1
        self.forwards = 0
        for attached in self._transient:
            attached.set_sizes()
        self.put_in()

    # --- adding --------------------------------------------------------------------------------

    def _add_to_gradients(self, attached: AttachedRule, grad_scale: float) -> None:
        slots = attached.slots
        chosen = [i for i, slot in enumerate(slots) if slot.parameter.grad is not None]
        gradients = [gradient_of(slots[i]) for i in chosen]
        if not gradients:
            return
        if attached.rule.noise.follows == "gradient":
            attached.take_gradients()
        weights = [slots[i].parameter for i in chosen]
        sizes = [size * grad_scale for size in attached.sizes_at(chosen)]
        site = attached.site(self._stream(attached), chosen, weights)
        attached.rule.noise.add(site, gradients, sizes)

    def _add_for_good(self, attached: AttachedRule) -> None:
        parameters = [slot.parameter for slot in attached.slots]
        chosen = [i for i, p in enumerate(parameters) if p.requires_grad and p.grad is not None]
        if not chosen:
            return
        if attached.rule.noise.follows == "gradient":
            attached.take_gradients()
        weights = [parameters[i] for i in chosen]
        site = attached.site(self._stream(attached), chosen, weights)
        attached.rule.noise.add(site, weights, attached.sizes_at(chosen))

    @torch.no_grad()
    def put_in(self) -> None:
        """Perturb the weights for the next gradient, unless that is done."""
        rules = [a for a in self._transient if not a.is_off]
        if self.weights.is_in or self.clean_depth or not rules:
            return
        if not self._store_and_add(rules[0]):
            self.weights.store()
            self._add_to_weights(rules[0])
        for attached in rules[1:]:
            self._add_to_weights(attached)
        self.weights.seal()

    def _store_and_add(self, attached: AttachedRule) -> bool:
        """Copy the weights aside and add the first rule's noise in one pass, where that works."""
        noise, everything = attached.rule.noise, list(range(len(attached.slots)))
        same = [s.index for s in attached.slots] == [s.index for s in self.weights.slots]
        fits = same and all(slot.parameter.requires_grad for slot in attached.slots)
        if not fits or not noise.fuses(self.weights.parameters):
            return False
        site = attached.site(self._stream(attached), everything, self.weights.parameters)
        with self.weights.storing() as backups:
            noise.add(site, self.weights.parameters, attached.sizes, backups=backups)
        return True

    def _add_to_weights(self, attached: AttachedRule) -> None:
        chosen = [i for i, s in enumerate(attached.slots) if s.parameter.requires_grad]
        targets = [attached.slots[i].parameter for i in chosen]
        if not targets:
            return
        weights = [self.weights.clean(attached.slots[i].index) for i in chosen]
        site = attached.site(self._stream(attached), chosen, weights)
        attached.rule.noise.add(site, targets, attached.sizes_at(chosen))

    @torch.no_grad()
    def lift(self, *, accept_writes: bool = False) -> None:
        """Bring the clean weights back."""
        self.weights.lift(accept_writes=accept_writes)

    # --- inputs --------------------------------------------------------------------------------

    def perturb_inputs(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Add the noise of the input rules to the first floating-point tensor among the inputs."""
        rules = [a for a in self.attached if a.rule.where is Place.INPUT and not a.is_off]
        real = [isinstance(x, Tensor) and x.is_floating_point() for x in inputs]
        if not rules or not any(real):
            return inputs
        where = real.index(True)
        x = inputs[where]
        for attached in rules:
            x = x + attached.input_noise(self._stream(attached), x.detach(), self.forwards)
        self.forwards += 1
        return (*inputs[:where], x, *inputs[where + 1 :])

    # --- helpers -------------------------------------------------------------------------------

    @property
    def _exact(self) -> list[AttachedRule]:
        return [a for a in self.attached if a.rule.noise.needs_closure]

    @property
    def _transient(self) -> list[AttachedRule]:
        return [
            a
            for a in self.attached
            if a.rule.where is Place.WEIGHT and not a.rule.noise.needs_closure
        ]

    def _attach_rules(self) -> None:
        slots = slots_of(self.optimizer, self.model)
        self.n_parameters = len(slots)
        self.attached = [
            AttachedRule(
                rule,
                [] if rule.where is Place.INPUT else select(rule, slots, replicas=self.replicas),
                self.optimizer,
                number=number,
                replicas=self.replicas,
            )
            for number, rule in enumerate(self.rules)
        ]
        acting = [a for a in self.attached if a.rule.where is Place.WEIGHT]
        self.weights = TransientWeights(slot for a in acting for slot in a.slots)

    def _prepare(self) -> None:
        """The values before any gradient."""
        for attached in self.attached:
            attached.prepare(self._stream(attached))
            attached.set_sizes()

    def restart(self) -> None:
        """As if attached just now."""
        self.step_number, self.forwards = self._first_step, 0
        self._attach_rules()
        self._prepare()

    def _follow_new_groups(self) -> None:
        """Parameters of groups added since are perturbed from here on."""
        count = sum(len(group["params"]) for group in self.optimizer.param_groups)
        if count == self.n_parameters:
            return
        self.lift()
        before = self.attached
        self._attach_rules()
        for old, new in zip(before, self.attached, strict=True):
            new.take_over(old)

    def _stream(self, attached: AttachedRule, step: int | None = None) -> Stream:
        rank = _rank() if self.per_rank else 0
        return Stream(
            keys=self.seeds,
            step=self.step_number if step is None else step,
            rule=attached.number | rank << 16,
            batched=self.replicas is not None,
        )


def _rank() -> int:
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    return 0


def _found_inf(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a gradient scaler has found that the (fused) step will be skipped."""
    found = getattr(optimizer, "found_inf", None)
    return bool(found is not None and float(found) > 0)


def _grad_scale(optimizer: torch.optim.Optimizer) -> float:
    """What gradients are still multiplied by when a fused optimizer unscales them itself."""
    scale = getattr(optimizer, "grad_scale", None)
    return 1.0 if scale is None else float(scale)
