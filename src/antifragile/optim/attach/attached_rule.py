"""A rule with everything that changes while it acts: the controller's state, sizes, memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from antifragile.errors import UsageError
from antifragile.optim.attach.clean_weights import TransientWeights
from antifragile.optim.attach.history import MEMORIES, zero_moments
from antifragile.optim.attach.selection import Slot, dense_gradients, group_factor
from antifragile.optim.checks import LARGEST
from antifragile.optim.noise.base import OutOfPlaceNoise, Site
from antifragile.optim.noise.composed import Anti
from antifragile.optim.noise.norms import spread
from antifragile.optim.noise.streams import Stream
from antifragile.optim.rules import Place, Rule
from antifragile.optim.scale.schedules import ControllerState
from antifragile.optim.scale.signals import Array, Signals, with_gradients

T = TypeVar("T")


class AttachedRule:
    """A rule at work on some of an optimizer's parameters.

    Args:
        rule: The rule.
        slots: The parameters it acts on; empty for an input rule.
        number: Position among the rules that act together.
        replicas: R, or None.

    Attributes:
        value: The scale at the present step, a number or (R,) numbers.
        sizes: The value times the factor of each parameter's group.
    """

    def __init__(
        self, rule: Rule, slots: Sequence[Slot], *, number: int, replicas: int | None
    ) -> None:
        self.rule, self.number, self.replicas = rule, number, replicas
        self.slots = list(slots)
        self.parameters = [slot.parameter for slot in self.slots]
        self.indices = [slot.index for slot in self.slots]
        self._slot_of_group = {slot.group_number: slot for slot in self.slots}
        self.schedule = rule.schedule
        self.controller: ControllerState = self.schedule.initial(replicas or 1)
        self.value: float | Tensor = 0.0
        self.sizes: list[float | Tensor] = []
        self.sizes_before: list[float | Tensor] | None = None
        self.gradient_norm: Array | None = None
        self.memory = MEMORIES[rule.noise.remembers](rule, self.slots)
        self._is_anti = isinstance(rule.noise, Anti)
        self.read_groups()

    @property
    def n_elements(self) -> int:
        """Number of weights of one replica that are perturbed."""
        left_out = self._left_out
        acting = [p.numel() for i, p in enumerate(self.parameters) if i not in left_out]
        return sum(acting) // (self.replicas or 1)

    def take_over(self, old: AttachedRule) -> None:
        """Continue from the same rule on fewer parameters; the new ones start fresh."""
        self.controller, self.value = old.controller, old.value
        self.gradient_norm = old.gradient_norm
        self.set_sizes()
        self.memory.take_over(old.memory)
        if old.sizes_before is not None:
            known = [id(slot.parameter) for slot in old.slots]
            before = dict(zip(known, old.sizes_before, strict=True))
            self.sizes_before = [before.get(id(slot.parameter), 0.0) for slot in self.slots]

    # --- the value -----------------------------------------------------------------------------

    def prepare(self, stream: Stream) -> None:
        """Set the value for the first step, before any gradient.

        Raises:
            UsageError: It is no number that float32 weights stand.
        """
        self.set_value(self._signals(stream))
        largest = float(torch.as_tensor(self.value, dtype=torch.float64).abs().max())
        if not largest <= LARGEST:
            raise UsageError(
                f"the scale {self.rule.schedule!r:.200} is {largest:g} at step {stream.step}; "
                f"expected at most {LARGEST:g}."
            )
        self.set_sizes()

    def look(self, stream: Stream, *, grad_scale: float, tracks: bool) -> None:
        """Read the gradients and set the value for ``stream.step``.

        Args:
            stream: Address of the step whose noise is being scaled.
            grad_scale: Factor by which a gradient scaler has multiplied the gradients.
            tracks: Whether to note the gradient norm for the metrics in any case.
        """
        self.read_groups()
        signals, needs = self._signals(stream), self.schedule.needs
        gradients = dense_gradients(self.slots) if needs or tracks else {}
        if gradients:
            slots = [self.slots[i] for i in gradients]
            signals = with_gradients(
                signals,
                list(gradients.values()),
                weights=[slot.parameter for slot in slots],
                states=[slot.state for slot in slots],
                betas=slots[0].betas,
                samples="samples" in needs,
                grad_scale=grad_scale,
            )
            self.gradient_norm = signals.gradient_norm
        self.set_value(signals)

    def set_value(self, signals: Signals) -> None:
        """Ask the scale; where the gradient is not finite, value and state stay as they were."""
        value, state = self.schedule.value(signals, self.controller)
        norm = signals.gradient_norm
        if norm is not None and self.schedule.needs and not np.isfinite(norm).all():
            value, state = self._undo_where_broken(value, state, np.isfinite(norm))
        self.controller = state
        if self.replicas is None:
            self.value = float(value if isinstance(value, float) else np.asarray(value).flat[0])
        else:
            device = self.slots[0].parameter.device if self.slots else torch.device("cpu")
            filled = np.array(np.broadcast_to(np.asarray(value, dtype=float), (self.replicas,)))
            self.value = torch.from_numpy(filled).to(device)

    def _signals(self, stream: Stream) -> Signals:
        n_elements = self.n_elements
        return Signals(
            step=stream.step,
            stream=stream,
            n_elements=n_elements,
            unit_norm=self.rule.noise.norm(max(n_elements, 1)),
            is_gradient_noise=self.rule.where is Place.GRAD,
        )

    def _undo_where_broken(
        self, value: float | Array, state: ControllerState, is_finite: Array
    ) -> tuple[float | Array, ControllerState]:
        """Value and state, with the former ones for replicas whose gradient is not finite."""
        value = np.where(is_finite, value, np.asarray(self.value, dtype=float))
        mixed = {}
        for key, new in state.items():
            old = self.controller[key]
            shaped = is_finite.reshape(-1, *[1] * (new.ndim - 1))
            mixed[key] = np.where(shaped, new, old) if old.shape == new.shape else old
        return value, mixed

    # --- sizes ---------------------------------------------------------------------------------

    @property
    def is_off(self) -> bool:
        """Whether the value is zero for every replica."""
        return not (self.value.any() if isinstance(self.value, Tensor) else self.value)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be added: off, and no noise of the step before to take away."""
        return self.is_off and self.sizes_before is None

    def set_sizes(self) -> None:
        """Multiply the value by the factor of each parameter's group."""
        power = self.schedule.learning_rate_power
        sizes = {
            number: self.value * group_factor(slot.group, power)
            for number, slot in self._slot_of_group.items()
        }
        self.sizes = [sizes[slot.group_number] for slot in self.slots]
        self.read_groups()

    def read_groups(self) -> None:
        """Find the places of the slots that their group takes out, as the groups are now."""
        groups = {n for n, slot in self._slot_of_group.items() if not group_factor(slot.group, 0)}
        places = (i for i, slot in enumerate(self.slots) if slot.group_number in groups)
        self._silent = frozenset(places if groups else ())

    @property
    def _left_out(self) -> frozenset[int]:
        """Places of the slots to which nothing is added, so that no common norm counts them."""
        if self.sizes_before is not None:  # what the last step added is still to be taken away
            return frozenset()
        return self._silent

    def _remember_sizes(self) -> None:
        """Keep the sizes that `Anti` takes away at the next step."""
        if self._is_anti:
            self.sizes_before = None if self.is_off else list(self.sizes)

    # --- adding the noise ----------------------------------------------------------------------

    def site(self, stream: Stream, chosen: Sequence[int], weights: Sequence[Tensor]) -> Site:
        """Describe where the noise is added.

        Args:
            stream: Seeds, step and rule number.
            chosen: Positions among this rule's slots.
            weights: The clean weights at those positions.
        """
        return Site(
            parameters=weights,
            indices=[self.indices[i] for i in chosen],
            stream=stream,
            memory=_pick(self.memory.now(), chosen),
            sizes_before=_pick(self.sizes_before, chosen),
            reset=lambda i, mask: zero_moments(self.slots[chosen[i]], mask),
        )

    def add_to_gradients(self, stream: Stream, *, grad_scale: float) -> None:
        """Add noise to the gradients there are.

        Args:
            stream: Seeds, step and rule number.
            grad_scale: Factor by which a gradient scaler has multiplied the gradients.
        """
        self.set_sizes()
        gradients = dense_gradients(self.slots)
        if gradients:
            self.memory.refresh()
            left_out = self._left_out
            chosen = [i for i in gradients if i not in left_out]
            gradients = {i: gradients[i] for i in chosen}
            sizes = [self.sizes[i] * grad_scale for i in chosen]
            site = self.site(stream, chosen, [self.parameters[i] for i in chosen])
            self.rule.noise.add(site, list(gradients.values()), sizes)
        self._remember_sizes()

    def add_for_good(self, stream: Stream) -> None:
        """Add noise to the weights that have just moved."""
        self.set_sizes()
        parameters = self.parameters
        left_out = self._left_out
        chosen = [
            i
            for i, p in enumerate(parameters)
            if p.requires_grad and p.grad is not None and i not in left_out
        ]
        if chosen:
            self.memory.refresh()
            weights = [parameters[i] for i in chosen]
            site = self.site(stream, chosen, weights)
            self.rule.noise.add(site, weights, [self.sizes[i] for i in chosen])
        self._remember_sizes()

    def store_and_add(self, weights: TransientWeights, stream: Stream) -> Tensor | None:
        """Keep the clean weights and add noise to the parameters, in one pass where possible.

        Returns:
            Checksums of the parameters, where that pass computed them.
        """
        noise, parameters = self.rule.noise, weights.parameters
        is_whole = self.indices == weights.indices and all(p.requires_grad for p in parameters)
        if not is_whole or self._left_out or not isinstance(noise, OutOfPlaceNoise):
            weights.store()
            self.add_to_weights(weights, stream)
            return None

        def fill(targets: list[Tensor], clean: list[Tensor]) -> Tensor | None:
            site = self.site(stream, range(len(clean)), clean)
            return noise.add(site, targets, self.sizes, sources=clean)

        return weights.store(fill)

    def add_to_weights(self, weights: TransientWeights, stream: Stream) -> None:
        """Add noise to weights that are in the buffers already."""
        left_out = self._left_out
        chosen = [i for i, p in enumerate(self.parameters) if p.requires_grad and i not in left_out]
        if not chosen:
            return
        site = self.site(stream, chosen, [weights.clean(self.indices[i]) for i in chosen])
        targets = [self.parameters[i] for i in chosen]
        self.rule.noise.add(site, targets, [self.sizes[i] for i in chosen])

    def input_noise(self, stream: Stream, x: Tensor, forward: int) -> Tensor:
        """Draw noise for one input.

        Args:
            stream: Seeds, step and rule number.
            x: The input, with replicas (R, ...).
            forward: Number of this forward within the step.
        """
        if self.replicas is not None and (x.ndim < 1 or len(x) != self.replicas):
            raise UsageError(
                f"an input has shape {tuple(x.shape)}; with replicas={self.replicas} an input rule "
                f"needs a leading dimension of {self.replicas}."
            )
        with torch.no_grad():
            site = Site(parameters=[x.contiguous()], indices=[forward], stream=stream)
            noise = self.rule.noise.unit(site)[0]
            return noise.mul_(spread(self.value, noise))


def _pick(values: Sequence[T] | None, chosen: Sequence[int]) -> list[T] | None:
    return None if values is None else [values[i] for i in chosen]
