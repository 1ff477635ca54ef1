"""What a rule keeps of the past for its noise: gradients, running squares, the first weights.

Most noises need none of it. Where the optimizer keeps the same (momenta, squares), its own are
read instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from antifragile.optim.attach.selection import Slot
from antifragile.optim.noise.composed import Preconditioned
from antifragile.optim.rules import Place, Rule

_SQUARES = ("exp_avg_sq", "square_avg")
_MOMENTUM = ("momentum_buffer", "exp_avg")
_RESET = ("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "grad_avg")


class Kept:
    """The tensors that one rule keeps, one per parameter; None where it keeps none.

    Args:
        rule: The rule.
        slots: The parameters it acts on.
        optimizer: Whose moments are read.
    """

    NAMES = ("directions", "squares", "starts")

    def __init__(self, rule: Rule, slots: Sequence[Slot], optimizer: torch.optim.Optimizer) -> None:
        self.noise, self.slots, self.optimizer = rule.noise, slots, optimizer
        self.directions: list[Tensor] | None = None
        self.squares: list[Tensor] | None = None
        self.starts: list[Tensor] | None = None
        follows, is_exact = rule.noise.follows is not None, rule.noise.needs_closure
        self._lags = follows and not is_exact and rule.where is Place.WEIGHT
        self._preconditioned = rule.noise if isinstance(rule.noise, Preconditioned) else None
        if rule.noise.keeps == "starts":
            self.starts = [slot.parameter.detach().clone() for slot in slots]

    def take_over(self, old: Kept) -> None:
        """Go on from the same rule on fewer parameters; the new ones begin here."""
        positions = {slot.index: i for i, slot in enumerate(old.slots)}
        for name in self.NAMES:
            kept = getattr(old, name)
            if kept is None:
                continue
            fresh = getattr(self, name) or self._zeros()
            merged = [
                kept[positions[slot.index]] if slot.index in positions else fresh[i]
                for i, slot in enumerate(self.slots)
            ]
            setattr(self, name, merged)

    def keep_gradients(self) -> None:
        """Copy the gradients, where the noise of the next step follows them."""
        if not self._lags:
            return
        if self.noise.follows == "momentum" and self._momenta() is not None:
            self.directions = None
        else:
            self.take_gradients()

    def take_gradients(self) -> None:
        """Copy the gradients as they are."""
        if self.directions is None:
            self.directions = self._zeros()
        for kept, slot in zip(self.directions, self.slots, strict=True):
            if slot.parameter.grad is None:
                kept.zero_()
            else:
                kept.copy_(slot.parameter.grad)

    def directions_now(self) -> list[Tensor] | None:
        """What the noise follows: kept gradients, or the optimizer's momenta."""
        if self.noise.follows == "momentum" and self.directions is None:
            return self._momenta()
        return self.directions

    def squares_now(self) -> list[Tensor] | None:
        """Running squares of the gradient: the optimizer's, debiased, or our own."""
        if self.noise.keeps != "squares":
            return None
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
        noise = self._preconditioned
        if noise is None or not self._needs_own_squares():
            return
        if self.squares is None:
            self.squares = self._zeros()
        for square, slot in zip(self.squares, self.slots, strict=True):
            gradient = slot.parameter.grad
            if gradient is None:
                continue
            unscaled = gradient / grad_scale
            square.mul_(noise.decay).addcmul_(unscaled, unscaled, value=1 - noise.decay)
            gradient.mul_(noise.preconditioner(square))

    def reset_moments(self, position: int, moves: Tensor) -> None:
        """Zero the optimizer's moments of the parameter at that position where a mask is true."""
        state = self.optimizer.state.get(self.slots[position].parameter, {})
        for name in _RESET:
            if isinstance(state.get(name), Tensor):
                state[name].masked_fill_(moves, 0.0)

    def _zeros(self) -> list[Tensor]:
        return [torch.zeros_like(slot.parameter) for slot in self.slots]

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

    def _needs_own_squares(self) -> bool:
        if self.squares is not None:
            return True
        group = self.optimizer.param_groups[0]
        return "betas" not in group and "alpha" not in group
