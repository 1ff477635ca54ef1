"""The handle of a perturbed optimizer: its rules at work, the weights behind them, the state.

All works through hooks (`step_hooks.py`, `model_hooks.py`, `saving.py`): the optimizer stays the
object it was, and the training loop too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from antifragile.optim.attach.adding import add_to_weights, store_and_add
from antifragile.optim.attach.attached_rule import AttachedRule
from antifragile.optim.attach.clean_weights import TransientWeights
from antifragile.optim.attach.metrics import metrics_of
from antifragile.optim.attach.model_hooks import ModelHooks
from antifragile.optim.attach.saving import HandleState, StateHooks, adopt
from antifragile.optim.attach.selection import select, slots_of
from antifragile.optim.attach.step_hooks import StepHooks
from antifragile.optim.noise.streams import Stream
from antifragile.optim.rules import Place, Rule

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
        self.tracks = False
        self._step_hooks = StepHooks(self, optimizer)
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
        self._step_hooks.remove()
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
        self.tracks = True
        return [metrics_of(self, attached, self.stream(attached)) for attached in self.attached]

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

    # --- the perturbation in weights and inputs ------------------------------------------------

    def put_in(self) -> None:
        """Perturb the weights for the next gradient, unless that is done."""
        rules = [a for a in self.transient if not a.is_off]
        if self.weights.is_in or self.clean_depth or not rules:
            return
        with torch.no_grad():
            store_and_add(self.weights, rules[0], self.stream(rules[0]))
            for attached in rules[1:]:
                add_to_weights(self.weights, attached, self.stream(attached))
        self.weights.seal()

    def lift(self, *, accept_writes: bool = False) -> None:
        """Bring the clean weights back."""
        if self.weights.is_in:
            with torch.no_grad():
                self.weights.lift(accept_writes=accept_writes)

    def perturb_inputs(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Add the noise of the input rules to the first floating-point tensor among the inputs."""
        rules = [a for a in self.attached if a.rule.where is Place.INPUT and not a.is_off]
        real = [isinstance(x, Tensor) and x.is_floating_point() for x in inputs]
        if not rules or not any(real):
            return inputs
        where = real.index(True)
        x = inputs[where]
        for attached in rules:
            x = x + attached.input_noise(self.stream(attached), x.detach(), self.forwards)
        self.forwards += 1
        return (*inputs[:where], x, *inputs[where + 1 :])

    # --- for the hooks -------------------------------------------------------------------------

    def refuse_clean_gradients(self) -> None:
        """Complain when gradients come though the perturbation was never put back in."""
        if self._model_hooks is not None:
            self._model_hooks.refuse_clean_gradients()

    def restart(self) -> None:
        """As if attached just now."""
        self.step_number, self.forwards = self._first_step, 0
        self._attach_rules()
        self._prepare()

    def follow_new_groups(self) -> None:
        """Parameters of groups added since are perturbed from here on."""
        count = sum([len(group["params"]) for group in self.optimizer.param_groups])
        if count == self.n_parameters:
            return
        self.lift()
        before = self.attached
        self._attach_rules()
        for old, new in zip(before, self.attached, strict=True):
            new.take_over(old)

    def stream(self, attached: AttachedRule, step: int | None = None) -> Stream:
        """The address of a rule's numbers, now or at another step."""
        rank = _rank() if self.per_rank else 0
        return Stream(
            keys=self.seeds,
            step=self.step_number if step is None else step,
            rule=attached.number | rank << 16,
            batched=self.replicas is not None,
        )

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
        self.exact = [a for a in acting if a.rule.noise.needs_closure]
        self.transient = [a for a in acting if not a.rule.noise.needs_closure]
        self.weights = TransientWeights(slot for a in acting for slot in a.slots)

    def _prepare(self) -> None:
        """The values before any gradient."""
        for attached in self.attached:
            attached.prepare(self.stream(attached))
            attached.set_sizes()


def _rank() -> int:
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    return 0
