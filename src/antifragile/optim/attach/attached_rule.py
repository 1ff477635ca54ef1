"""One rule at work on one optimizer: its parameters, its controller's state, its sizes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from antifragile.errors import UsageError
from antifragile.optim.attach.history import Kept
from antifragile.optim.attach.selection import Slot, dense_gradients, group_factor
from antifragile.optim.noise.composed import Anti
from antifragile.optim.noise.drawn import Site
from antifragile.optim.noise.norms import spread
from antifragile.optim.noise.streams import Stream
from antifragile.optim.rules import Place, Rule
from antifragile.optim.scale.schedules import Array, Signals, State
from antifragile.optim.scale.signals import with_gradients

Sizes = list[float | Tensor]


class AttachedRule:
    """What a handle knows about one of its rules.

    Args:
        rule: The rule.
        slots: The parameters it acts on; empty for an input rule.
        optimizer: Whose moments are read.
        number: Position among the handle's rules.
        replicas: R, or None.
    """

    def __init__(
        self,
        rule: Rule,
        slots: Sequence[Slot],
        optimizer: torch.optim.Optimizer,
        *,
        number: int,
        replicas: int | None,
    ) -> None:
        self.rule, self.number, self.replicas = rule, number, replicas
        self.slots, self.optimizer = list(slots), optimizer
        self.parameters = [slot.parameter for slot in self.slots]
        self.indices = [slot.index for slot in self.slots]
        self._group_numbers = [slot.group_number for slot in self.slots]
        self.n_elements = sum(p.numel() for p in self.parameters) // (replicas or 1)
        self.schedule = rule.schedule
        self.controller: State = self.schedule.initial(replicas or 1)
        self.value: float | Tensor = 0.0
        self.sizes: Sizes = []
        self.sizes_before: Sizes | None = None
        self.gradient_norm: Array | None = None
        self.kept = Kept(rule, self.slots, optimizer)
        self._is_anti = isinstance(rule.noise, Anti)

    def take_over(self, old: AttachedRule) -> None:
        """Go on from the same rule on fewer parameters; the new ones begin here."""
        self.controller, self.value = old.controller, old.value
        self.gradient_norm = old.gradient_norm
        self.set_sizes()
        self.kept.take_over(old.kept)
        if old.sizes_before is not None:
            before = dict(zip([slot.index for slot in old.slots], old.sizes_before, strict=True))
            self.sizes_before = [before.get(slot.index, 0.0) for slot in self.slots]

    # --- looking -------------------------------------------------------------------------------

    def prepare(self, stream: Stream) -> None:
        """Set the value for the first step, before any gradient."""
        self.set_value(self._signals(stream))

    def look(self, stream: Stream, *, grad_scale: float, track: bool) -> None:
        """Read the gradients and set the value for ``stream.step``.

        Args:
            stream: Of the step whose noise is being scaled.
            grad_scale: What the gradients are multiplied by.
            track: Whether to keep the gradient norm for the metrics.
        """
        signals, needs = self._signals(stream), self.schedule.needs
        gradients = dense_gradients(self.slots) if needs or track else {}
        if gradients:
            signals = with_gradients(
                signals,
                [self.slots[i] for i in gradients],
                list(gradients.values()),
                self.optimizer,
                needs=needs,
                grad_scale=grad_scale,
            )
            self.gradient_norm = signals.gradient_norm
        self.set_value(signals)

    def set_value(self, signals: Signals) -> None:
        """Ask the scale; where the gradient is not finite, value and state stay as they were."""
        value, state = self.schedule.value(signals, self.controller)
        norm = signals.gradient_norm
        if norm is not None and self.schedule.needs and not np.isfinite(norm).all():
            value, state = self._keep_broken(value, state, np.isfinite(norm))
        self.controller = state
        if self.replicas is None:
            self.value = float(value if isinstance(value, float) else np.asarray(value).flat[0])
        else:
            device = self.slots[0].parameter.device if self.slots else torch.device("cpu")
            filled = np.array(np.broadcast_to(np.asarray(value, dtype=float), (self.replicas,)))
            self.value = torch.from_numpy(filled).to(device)

    def _signals(self, stream: Stream) -> Signals:
        return Signals(
            step=stream.step,
            stream=stream,
            n_elements=self.n_elements,
            unit_norm=self.rule.noise.norm(max(self.n_elements, 1)),
            is_gradient_noise=self.rule.where is Place.GRAD,
        )

    def _keep_broken(
        self, value: float | Array, state: State, fine: Array
    ) -> tuple[float | Array, State]:
        """Value and state, with those of replicas whose gradient is broken as they were."""
        before = np.asarray(self.value, dtype=float)
        value = np.where(fine, value, before)
        kept = {}
        for key, new in state.items():
            old = self.controller[key]
            shaped = fine.reshape(-1, *[1] * (new.ndim - 1))
            kept[key] = np.where(shaped, new, old) if old.shape == new.shape else old
        return value, kept

    # --- acting --------------------------------------------------------------------------------

    @property
    def is_off(self) -> bool:
        """Whether the value is zero for every replica."""
        return not (self.value.any() if isinstance(self.value, Tensor) else self.value)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be added: off, and no noise of the step before to take away."""
        return self.is_off and self.sizes_before is None

    def set_sizes(self) -> None:
        """The scale of every parameter: the value times what its group says."""
        power, groups = self.schedule.learning_rate_power, self.optimizer.param_groups
        sizes = {n: self.value * group_factor(groups[n], power) for n in set(self._group_numbers)}
        self.sizes = [sizes[n] for n in self._group_numbers]

    def remember_sizes(self) -> None:
        """What `Anti` takes away at the next step."""
        if self._is_anti:
            self.sizes_before = None if self.is_off else list(self.sizes)

    def sizes_at(self, chosen: Sequence[int]) -> Sizes:
        """The sizes at those positions."""
        return [self.sizes[i] for i in chosen]

    def site(
        self,
        stream: Stream,
        chosen: Sequence[int],
        weights: Sequence[Tensor],
        *,
        for_show: bool = False,
    ) -> Site:
        """Where the noise lands.

        Args:
            stream: Seeds, step and rule.
            chosen: Positions among this rule's slots.
            weights: The clean weights at those positions.
            for_show: Nothing may be changed.
        """

        def pick(kept: Sequence[Any] | None) -> list[Any] | None:
            return None if kept is None else [kept[i] for i in chosen]

        return Site(
            parameters=weights,
            indices=[self.indices[i] for i in chosen],
            stream=stream,
            directions=pick(self.kept.directions_now()),
            starts=pick(self.kept.starts),
            squares=pick(self.kept.squares_now()),
            sizes_before=pick(self.sizes_before),
            reset=None if for_show else partial(self._reset, chosen),
        )

    def _reset(self, chosen: Sequence[int], i: int, moves: Tensor) -> None:
        self.kept.reset_moments(chosen[i], moves)

    def input_noise(self, stream: Stream, x: Tensor, forward: int) -> Tensor:
        """Noise for one input, (..., ) or with replicas (R, ...).

        Args:
            stream: Seeds, step and rule.
            x: The input.
            forward: Which forward of this step it is.
        """
        if self.replicas is not None and (x.ndim < 1 or len(x) != self.replicas):
            raise UsageError(
                f"an input has shape {tuple(x.shape)}; with replicas={self.replicas} an input rule "
                f"needs a leading dimension of {self.replicas}."
            )
        with torch.no_grad():
            like = x.contiguous()
            site = Site(parameters=[like], indices=[forward], stream=stream)
            noise = self.rule.noise.unit(site)[0]
            return noise.mul_(spread(self.value, noise))
