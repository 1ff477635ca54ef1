"""The core of a perturbed optimizer: its rules, the clean weights, the step counter, the streams.

It knows no hook. Whoever trains calls it around the optimizer's own step; the hooks that do so are
in `hooks/step.py` and `hooks/model.py`:

    before_step   read the gradients; take the perturbation out of the weights; add gradient noise
    (the optimizer's own step)
    after_step    add noise to the weights for good

Where the model is known, its next forward in training mode puts the perturbation in, and weights
are clean until then; else `after_step` does.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

from antifragile.errors import UsageError
from antifragile.optim.attach.attached_rule import AttachedRule
from antifragile.optim.attach.clean_weights import TransientWeights
from antifragile.optim.attach.inputs.noise import InputNoise
from antifragile.optim.attach.own_weights import OwnWeights
from antifragile.optim.attach.selection import parameters_of, select, slots_of
from antifragile.optim.noise.streams import Stream
from antifragile.optim.rules import Place, Rule


class PerturbedOptimizer:
    """An optimizer with the rules that perturb it.

    Args:
        optimizer: The optimizer.
        rules: The rules, in the order in which they act.
        seeds: One seed per replica.
        model: The model that is trained, for the names of parameters; or None.
        per_rank: Whether each rank of the process group draws its own noise.
        replicas: R, or None.
        first_step: Step number at which schedules and noise begin.

    Attributes:
        attached: The rules at work.
        exact: Those that need a second gradient inside the step.
        transient: Those whose perturbation is in the weights between two steps.
        weights: The parameters that exact and transient rules act on.
        inputs: The rules on inputs, with the inputs of the present step.
        step_number: Number of the present step, 0-based.
        tracks: Whether gradient norms are noted for the metrics.
        after_following: Called when other parameters have come.
        is_removed: Whether `remove` was called, so that nothing perturbs any more.
        told: Other optimizers whose users were told that they step perturbed parameters.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        rules: Sequence[Rule],
        *,
        seeds: tuple[int, ...],
        model: nn.Module | None,
        per_rank: bool,
        replicas: int | None,
        first_step: int,
    ) -> None:
        self.optimizer, self.model = optimizer, model
        self.rules, self.seeds = tuple(rules), seeds
        self.per_rank, self.replicas = per_rank, replicas
        self._first_step = first_step
        self._clean_depth = 0
        self.is_removed = self._was_trained = self.tracks = False
        self.after_following: Callable[[], None] = lambda: None
        self.told: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        self.inputs = InputNoise(self.stream)
        self.restart()
        self.put_in_early()

    def restart(self) -> None:
        """Begin again at the first step, with no memory; the weights must be clean."""
        self.step_number = self._first_step
        self.inputs.begin_step()
        self._attach_rules()
        for attached in self.attached:
            attached.prepare(self.stream(attached))

    # --- the perturbation in weights and inputs ------------------------------------------------

    def put_in(self) -> None:
        """Perturb the weights for the next gradient, unless that is done."""
        rules = [a for a in self.transient if not a.is_off]
        if self.weights.is_in or self._clean_depth or self.is_removed or not rules:
            return
        if torch._C._functorch.peek_interpreter_stack() is not None:
            raise UsageError(
                "the weights are to be perturbed inside a torch.func transform (grad, vmap), where "
                "they cannot be written; call handle.weights before it, which perturbs them."
            )
        with torch.inference_mode(False), torch.no_grad():
            known = rules[0].store_and_add(self.weights, self.stream(rules[0]))
            for attached in rules[1:]:
                attached.add_to_weights(self.weights, self.stream(attached))
        self.weights.seal(known if len(rules) == 1 else None)

    def put_in_early(self) -> None:
        """Perturb the weights now, where no forward of a model will."""
        if self.model is None:
            self.put_in()

    def lift(self, *, accept_writes: bool = False) -> None:
        """Bring the clean weights back."""
        if self.weights.is_in:
            with torch.no_grad():
                self.weights.lift(accept_writes=accept_writes)

    def remove(self) -> None:
        """Bring the clean weights back for good."""
        self.lift(accept_writes=True)
        self.is_removed = True

    @contextmanager
    def clean(self) -> Iterator[None]:
        """Keep the weights clean inside; put the same perturbation back afterwards."""
        self.lift(accept_writes=True)
        self._clean_depth += 1
        try:
            yield
        finally:
            self._clean_depth -= 1
            self.put_in_early()

    def enter_training(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        reads_input: bool = True,
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Prepare a forward in training mode; None leaves its arguments as they are.

        Args:
            module: The module that is called.
            args: Positional arguments of the forward.
            kwargs: Keyword arguments.
            reads_input: Whether they are the model's inputs, and not what another part returned.
        """
        if self._clean_depth or not self._own.are_called():
            return None
        if not self.weights.is_in:
            self.follow_new_groups()
        self.put_in()
        self._was_trained |= torch.is_grad_enabled()
        return self.inputs.perturb(module, (args, kwargs)) if reads_input else None

    @property
    def awaits_embeddings(self) -> bool:
        """Whether noise is to be added to what an embedding of the present forward returns."""
        return not self._clean_depth and self.inputs.awaits_embeddings

    def enter_evaluation(self) -> None:
        """Bring the clean weights back until the next forward in training mode."""
        self.lift()

    @property
    def acts_in_forwards(self) -> bool:
        """Whether any rule perturbs weights or inputs while the model is called."""
        return any(a.rule.where in (Place.INPUT, Place.WEIGHT) for a in self.attached)

    @property
    def blurs_statistics(self) -> bool:
        """Whether batch norms of the model gather statistics of perturbed weights."""
        modules = () if self.model is None else self.model.modules()
        return bool(self.transient) and any(
            isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
            for module in modules
        )

    # --- a step --------------------------------------------------------------------------------

    @torch.no_grad()
    def before_step(self, *, grad_scale: float) -> None:
        """Leave clean weights and perturbed gradients for the optimizer's own step.

        Args:
            grad_scale: Factor by which a gradient scaler has multiplied the gradients.

        Raises:
            UsageError: The gradients are those of clean weights, or weights were written while
                the perturbation was in them.
        """
        self._check_was_trained()
        for attached in self.attached:
            scales_next = attached.rule.where in (Place.WEIGHT, Place.INPUT)
            stream = self.stream(attached, self.step_number + scales_next)
            attached.look(stream, grad_scale=grad_scale, tracks=self.tracks)
            attached.memory.see_gradients()
        self.lift()
        for attached in self.attached:
            attached.memory.precondition(grad_scale=grad_scale)
            if attached.rule.where is Place.GRAD and not attached.is_idle:
                attached.add_to_gradients(self.stream(attached), grad_scale=grad_scale)

    @torch.no_grad()
    def climb(self) -> bool:
        """Add the exact rules' perturbation, along the gradient at hand.

        Returns:
            Whether there was one, so that the gradient is to be taken again.
        """
        rules = [attached for attached in self.exact if not attached.is_off]
        if not rules:
            return False
        self.weights.refuse_writes()
        if not self.weights.is_in:
            self.weights.store()
        for attached in rules:
            attached.memory.refresh()
            attached.set_sizes()
            attached.add_to_weights(self.weights, self.stream(attached))
            attached.memory.tensors = None
        self.weights.seal()
        return True

    @torch.no_grad()
    def after_step(self) -> None:
        """Add noise for good, count the step, and perturb the weights for the next gradient."""
        for attached in self.attached:
            if attached.rule.where is Place.STEP and not attached.is_idle:
                attached.add_for_good(self.stream(attached))
        self.step_number += 1
        self.inputs.begin_step()
        self._was_trained = False
        for attached in self.transient:
            attached.set_sizes()
        self.put_in_early()

    def _check_was_trained(self) -> None:
        """Refuse gradients that cannot be those of perturbed weights or inputs."""
        acts = self.inputs.acting or any(not attached.is_off for attached in self.transient)
        if not acts or self.model is None or not self._has_gradients():
            return
        if not self._was_trained:
            raise UsageError(
                "no forward of the model in training mode came since the last step, so its "
                "gradients are of clean weights and inputs; give perturb() the module that is "
                "called (a trainer's callback its name, as network=), and train in model.train(); "
                "calls without gradients or with other tensors (torch.func) do not count."
            )
        self.inputs.check_found()

    # --- rules and streams ---------------------------------------------------------------------

    def follow_new_groups(self) -> None:
        """Perturb the parameters that were added or exchanged since, from here on."""
        if self._identities() == self._known:
            return
        self.lift()
        before = self.attached
        self._attach_rules()
        for old, new in zip(before, self.attached, strict=True):
            new.take_over(old)
        self.after_following()

    @property
    def names(self) -> list[str] | None:
        """Names of all parameters in the optimizer's order, without those of wrappers, or None."""
        slots = slots_of(self.optimizer, self.model)
        if any(slot.name is None for slot in slots):
            return None
        return [str(slot.name).replace("_orig_mod.", "").removeprefix("module.") for slot in slots]

    def stream(self, attached: AttachedRule, step: int | None = None) -> Stream:
        """Make the address of a rule's random numbers, at the present or another step."""
        has_ranks = self.per_rank or attached.rule.where is Place.INPUT
        is_ranked = has_ranks and dist.is_available() and dist.is_initialized()
        rank = dist.get_rank() if is_ranked else 0
        return Stream(
            keys=self.seeds,
            step=self.step_number if step is None else step,
            rule=attached.number | rank << 16,
            batched=self.replicas is not None,
        )

    def _attach_rules(self) -> None:
        slots = slots_of(self.optimizer, self.model)
        self.n_parameters, self._known = len(slots), self._identities()
        self.attached = [
            AttachedRule(
                rule,
                [] if rule.where is Place.INPUT else select(rule, slots, replicas=self.replicas),
                number=number,
                replicas=self.replicas,
            )
            for number, rule in enumerate(self.rules)
        ]
        self.inputs.rules = [a for a in self.attached if a.rule.where is Place.INPUT]
        acting = [a for a in self.attached if a.rule.where is Place.WEIGHT]
        self.exact = [a for a in acting if a.rule.noise.needs_closure]
        self.transient = [a for a in acting if not a.rule.noise.needs_closure]
        self.weights = TransientWeights((slot for a in acting for slot in a.slots), self.model)
        self._own = OwnWeights(self.model, self.weights.parameters)

    def _has_gradients(self) -> bool:
        return any(parameter.grad is not None for parameter in parameters_of(self.optimizer))

    def _identities(self) -> list[int]:
        return [id(parameter) for parameter in parameters_of(self.optimizer)]
