"""One rule at work on one optimizer: its parameters, its controller's state, what it has kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from antifragile.errors import UsageError
from antifragile.optim.noise import Anti, Preconditioned, Site, spread, tensor_norms
from antifragile.optim.rules import Place, Rule
from antifragile.optim.scale import Array, Signals, State
from antifragile.optim.selection import Slot, group_factor
from antifragile.optim.streams import Stream

_SAMPLES = 1024  # elements of a tensor that controllers look at
_MOMENTS = (("exp_avg", "exp_avg_sq"),)
_SQUARES = ("exp_avg_sq", "square_avg")
_MOMENTUM = ("momentum_buffer", "exp_avg")
_RESET = ("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "grad_avg")

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
        self.schedule = rule.schedule
        self.controller: State = self.schedule.initial(replicas or 1)
        self.value: float | Tensor = 0.0
        self.sizes: Sizes = []
        self.sizes_before: Sizes | None = None
        self.directions: list[Tensor] | None = None
        self.gradient_norm: Array | None = None
        self.squares: list[Tensor] | None = None
        self.starts: list[Tensor] | None = None
        if rule.noise.keeps == "starts":
            self.starts = [slot.parameter.detach().clone() for slot in self.slots]

    @property
    def n_elements(self) -> int:
        """Of its parameters, per replica."""
        return sum(slot.parameter.numel() for slot in self.slots) // (self.replicas or 1)

    def take_over(self, old: AttachedRule) -> None:
        """Go on from the same rule on fewer parameters; the new ones begin here."""
        self.controller, self.value, self.gradient_norm = (
            old.controller,
            old.value,
            old.gradient_norm,
        )
        self.set_sizes()
        positions = {slot.index: i for i, slot in enumerate(old.slots)}
        for name in ("directions", "squares", "starts"):
            kept = getattr(old, name)
            if kept is not None:
                new = [torch.zeros_like(slot.parameter) for slot in self.slots]
                fresh = getattr(self, name) or new
                setattr(
                    self,
                    name,
                    [
                        kept[positions[slot.index]] if slot.index in positions else fresh[i]
                        for i, slot in enumerate(self.slots)
                    ],
                )
        if old.sizes_before is not None:
            self.sizes_before = [
                old.sizes_before[positions[slot.index]] if slot.index in positions else 0.0
                for slot in self.slots
            ]

    # --- looking -------------------------------------------------------------------------------

    def look(self, stream: Stream, *, grad_scale: float, track: bool) -> None:
        """Read the gradients and set the value for ``stream.step``.

        Args:
            stream: Of the step whose noise is being scaled.
            grad_scale: What the gradients are multiplied by.
            track: Whether to keep the gradient norm for the metrics.
        """
        needs = self.schedule.needs
        with_gradient = [s for s in self.slots if s.parameter.grad is not None]
        signals = self._signals(stream)
        if with_gradient and (needs or track):
            signals = self._with_gradients(signals, with_gradient, needs, grad_scale)
            self.gradient_norm = signals.gradient_norm
        self.set_value(signals)

    def set_value(self, signals: Signals) -> None:
        """Ask the scale; where the gradient is not finite, value and state stay as they were."""
        value, state = self.schedule.value(signals, self.controller)
        norm = signals.gradient_norm
        if self.schedule.needs and norm is not None and not np.isfinite(norm).all():
            value, state = self._keep_broken(value, state, np.isfinite(norm))
        self.controller = state
        if self.replicas is None:
            self.value = float(np.asarray(value, dtype=float).reshape(-1)[0])
        else:
            device = self.slots[0].parameter.device if self.slots else torch.device("cpu")
            filled = np.array(np.broadcast_to(np.asarray(value, dtype=float), (self.replicas,)))
            self.value = torch.from_numpy(filled).to(device)

    def prepare(self, stream: Stream) -> None:
        """Set the value for the first step, before any gradient."""
        self.set_value(self._signals(stream))

    def _signals(self, stream: Stream) -> Signals:
        return Signals(
            step=stream.step,
            stream=stream,
            n_elements=self.n_elements,
            unit_norm=self.rule.noise.norm(max(self.n_elements, 1)),
            is_gradient_noise=self.rule.where is Place.GRAD,
        )

    def _with_gradients(
        self, signals: Signals, slots: list[Slot], needs: frozenset[str], grad_scale: float
    ) -> Signals:
        gradients = [gradient_of(slot) for slot in slots]
        batched = self.replicas is not None
        norms = tensor_norms(gradients, is_batched=batched).cpu().numpy() / grad_scale
        norms = norms.reshape(self.replicas or 1, len(slots))
        least = 3 if batched else 2
        sampled: dict[str, Array] = {}
        if "samples" in needs:
            sampled["gradient"] = self._sample(gradients) / grad_scale
            sampled["weight"] = self._sample([slot.parameter for slot in slots])
            sampled |= self._moments(slots)
        return Signals(
            **{k: getattr(signals, k) for k in ("step", "stream", "n_elements", "unit_norm")},
            is_gradient_noise=signals.is_gradient_noise,
            gradient_norm=np.sqrt((norms**2).sum(axis=1)),
            tensor_norms=norms,
            is_matrix=np.array([slot.parameter.ndim >= least for slot in slots]),
            sampled=sampled,
            betas=tuple(slots[0].group.get("betas", (0.9, 0.999))),
            moment_steps=self._moment_steps(slots[0]),
        )

    def _sample(self, tensors: Sequence[Tensor]) -> Array:
        """Elements at even distances of each tensor, (R, K) float64."""
        rows = []
        for tensor in tensors:
            flat = tensor.detach().reshape(self.replicas or 1, -1)
            rows.append(flat[:, :: max(1, -(-flat.shape[1] // _SAMPLES))].double())
        return torch.cat(rows, dim=1).cpu().numpy()

    def _moments(self, slots: list[Slot]) -> dict[str, Array]:
        states = [self.optimizer.state.get(slot.parameter, {}) for slot in slots]
        if not all("exp_avg" in s and "exp_avg_sq" in s for s in states):
            return {}
        if any(s["exp_avg_sq"].shape != s["exp_avg"].shape for s in states):
            return {}
        return {
            "mean": self._sample([s["exp_avg"] for s in states]),
            "square": self._sample([s["exp_avg_sq"] for s in states]),
        }

    def _moment_steps(self, slot: Slot) -> float:
        return float(self.optimizer.state.get(slot.parameter, {}).get("step", 0))

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
        return self.is_off and not (self._is_anti and self.sizes_before is not None)

    @property
    def _is_anti(self) -> bool:
        return isinstance(self.rule.noise, Anti)

    def set_sizes(self) -> None:
        """The scale of every parameter: the value times what its group says."""
        power = self.schedule.learning_rate_power
        groups = {id(slot.group): slot.group for slot in self.slots}
        sizes = {key: self.value * group_factor(group, power) for key, group in groups.items()}
        self.sizes = [sizes[id(slot.group)] for slot in self.slots]

    def remember_sizes(self) -> None:
        """What `Anti` takes away at the next step."""
        if self._is_anti:
            self.sizes_before = None if self.is_off else list(self.sizes)

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
            indices=[self.slots[i].index for i in chosen],
            stream=stream,
            directions=pick(self._directions()),
            starts=pick(self.starts),
            squares=pick(self._squares()) if self.rule.noise.keeps == "squares" else None,
            sizes_before=pick(self.sizes_before),
            reset=None if for_show else self._reset(chosen),
        )

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

    def sizes_at(self, chosen: Sequence[int]) -> Sizes:
        """The sizes at those positions."""
        return [self.sizes[i] for i in chosen]

    # --- what the noise follows or keeps -------------------------------------------------------

    def keep_gradients(self) -> None:
        """Copy the gradient, where the noise of the next step follows it."""
        noise = self.rule.noise
        if noise.follows is None or noise.needs_closure or self.rule.where is not Place.WEIGHT:
            return
        if noise.follows == "momentum" and self._has_momentum():
            self.directions = None
            return
        self.take_gradients()

    def take_gradients(self) -> None:
        """Copy the gradient as it is."""
        if self.directions is None:
            self.directions = [torch.zeros_like(slot.parameter) for slot in self.slots]
        for kept, slot in zip(self.directions, self.slots, strict=True):
            if slot.parameter.grad is None:
                kept.zero_()
            else:
                kept.copy_(slot.parameter.grad)

    def _has_momentum(self) -> bool:
        return self._momenta() is not None

    def _momenta(self) -> list[Tensor] | None:
        """The optimizer's momenta; None where it keeps none (yet)."""
        found = []
        for slot in self.slots:
            state = self.optimizer.state.get(slot.parameter, {})
            name = next((n for n in _MOMENTUM if isinstance(state.get(n), Tensor)), None)
            found.append(None if name is None else state[name])
        if all(momentum is None for momentum in found):
            return None
        return [
            torch.zeros_like(slot.parameter) if momentum is None else momentum
            for slot, momentum in zip(self.slots, found, strict=True)
        ]

    def _directions(self) -> list[Tensor] | None:
        if self.rule.noise.follows == "momentum" and self.directions is None:
            return self._momenta()
        return self.directions

    def _squares(self) -> list[Tensor]:
        """Running squares of the gradient: the optimizer's, debiased, or our own."""
        if self.squares is not None:
            return self.squares
        found = []
        for slot in self.slots:
            state = self.optimizer.state.get(slot.parameter, {})
            name = next((n for n in _SQUARES if isinstance(state.get(n), Tensor)), None)
            square = torch.zeros_like(slot.parameter) if name is None else state[name]
            if name == "exp_avg_sq":
                beta = slot.group.get("betas", (0.9, 0.999))[1]
                square = square / (1 - beta ** max(float(state.get("step", 1)), 1.0))
            found.append(square)
        return found

    def precondition(self, *, grad_scale: float) -> None:
        """Multiply the gradients by G, for an optimizer that keeps no running squares."""
        noise = self.rule.noise
        if not isinstance(noise, Preconditioned) or not self._needs_own_squares():
            return
        if self.squares is None:
            self.squares = [torch.zeros_like(slot.parameter) for slot in self.slots]
        for square, slot in zip(self.squares, self.slots, strict=True):
            gradient = slot.parameter.grad
            if gradient is None:
                continue
            unscaled = gradient / grad_scale
            square.mul_(noise.decay).addcmul_(unscaled, unscaled, value=1 - noise.decay)
            gradient.mul_(noise.preconditioner(square))

    def _needs_own_squares(self) -> bool:
        if self.squares is not None:
            return True
        group = self.optimizer.param_groups[0]
        return "betas" not in group and "alpha" not in group

    def _reset(self, chosen: Sequence[int]) -> Callable[[int, Tensor], None]:
        """Zero the optimizer's moments of one parameter where a mask is true."""

        def reset(i: int, moves: Tensor) -> None:
            state = self.optimizer.state.get(self.slots[chosen[i]].parameter, {})
            for name in _RESET:
                if isinstance(state.get(name), Tensor):
                    state[name].masked_fill_(moves, 0.0)

        return reset


def gradient_of(slot: Slot) -> Tensor:
    """The gradient of a parameter that has one.

    Raises:
        UsageError: It is sparse.
    """
    gradient = slot.parameter.grad
    assert gradient is not None
    if gradient.is_sparse:
        raise UsageError(
            f"the gradient of parameter {slot.name or f'number {slot.index}'} is sparse, and "
            "perturbations are dense; leave it out by params=."
        )
    return gradient
