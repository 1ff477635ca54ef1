"""Tensors a rule remembers between steps for its noise: gradients, running squares, first weights.

A noise names what it needs in `Noise.remembers`; `MEMORIES` maps that name to a class here. Most
noises need nothing. Where the optimizer keeps the same tensors (momenta, squares), they are read
there and not kept twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from antifragile.optim.attach.optimizers import MOMENTA, MOMENTS, SQUARES
from antifragile.optim.attach.selection import Slot, dense_gradients
from antifragile.optim.noise.composed import Preconditioned
from antifragile.optim.rules import Place, Rule


class Memory:
    """Tensors that one rule remembers, one per parameter. This base class remembers none.

    Args:
        rule: The rule.
        slots: The parameters it acts on.

    Attributes:
        saved_as: Name of the tensors in a saved state.
        tensors: The tensors kept here; None while there are none.
    """

    saved_as: ClassVar[str] = ""

    def __init__(self, rule: Rule, slots: Sequence[Slot]) -> None:
        self.rule, self.slots = rule, slots
        self.tensors: list[Tensor] | None = None

    def now(self) -> list[Tensor] | None:
        """Give the noise its tensors, or None where there are none yet."""
        return self.tensors

    def see_gradients(self) -> None:
        """Copy from a step's gradients what the noise of the next step needs."""

    def refresh(self) -> None:
        """Copy the present gradients, just before a noise that follows them is added."""

    def precondition(self, *, grad_scale: float) -> None:
        """Change the gradients before the optimizer's step.

        Args:
            grad_scale: Factor by which a gradient scaler has multiplied the gradients.
        """

    def take_over(self, old: Memory) -> None:
        """Continue from the same rule on fewer parameters; the new ones start with zeros."""
        if old.tensors is None:
            return
        positions = {id(slot.parameter): i for i, slot in enumerate(old.slots)}
        fresh = self.tensors or self._zeros()
        self.tensors = [
            old.tensors[positions[id(slot.parameter)]]
            if id(slot.parameter) in positions
            else fresh[i]
            for i, slot in enumerate(self.slots)
        ]

    def _zeros(self) -> list[Tensor]:
        return [torch.zeros_like(slot.parameter) for slot in self.slots]


class LastGradients(Memory):
    """Copies of gradients: of the last step for weight rules, of this step for all others."""

    saved_as = "directions"

    def __init__(self, rule: Rule, slots: Sequence[Slot]) -> None:
        super().__init__(rule, slots)
        self.lags = rule.where is Place.WEIGHT and not rule.noise.needs_closure

    def see_gradients(self) -> None:
        if self.lags:
            self._copy_gradients()

    def refresh(self) -> None:
        self._copy_gradients()

    def _copy_gradients(self) -> None:
        if self.tensors is None:
            self.tensors = self._zeros()
        gradients = dense_gradients(self.slots)
        for i, kept in enumerate(self.tensors):
            if i in gradients:
                kept.copy_(gradients[i])
            else:
                kept.zero_()


class Momenta(LastGradients):
    """The optimizer's momenta; for weight rules on an optimizer without, the last gradients."""

    def now(self) -> list[Tensor] | None:
        return self._momenta() if self.tensors is None else self.tensors

    def see_gradients(self) -> None:
        if self.lags and any(slot.moment(MOMENTA) is not None for slot in self.slots):
            self.tensors = None
        else:
            super().see_gradients()

    def refresh(self) -> None:
        """Leave the momenta as they are."""

    def _momenta(self) -> list[Tensor] | None:
        """The optimizer's momenta; None where it keeps none (yet)."""
        found = [slot.moment(MOMENTA) for slot in self.slots]
        if all(momentum is None for momentum in found):
            return None
        return [
            torch.zeros_like(slot.parameter) if momentum is None else momentum
            for slot, momentum in zip(self.slots, found, strict=True)
        ]


class RunningSquares(Memory):
    """Running squares of the gradient: the optimizer's, debiased; or kept here where it has none.

    In the second case the gradients are multiplied by the preconditioner before the step, as an
    optimizer with running squares would do itself.
    """

    saved_as = "squares"

    def now(self) -> list[Tensor]:
        if self.tensors is not None:
            return self.tensors
        found = []
        for slot in self.slots:
            square = slot.moment(SQUARES)
            if square is None:
                square = torch.zeros_like(slot.parameter)
            elif "exp_avg_sq" in slot.state:
                beta = slot.betas[1]
                square = square / (1 - beta ** max(float(slot.state.get("step", 1)), 1.0))
            found.append(square)
        return found

    def precondition(self, *, grad_scale: float) -> None:
        noise = self.rule.noise
        has_squares = not isinstance(self.slots[0].optimizer, torch.optim.SGD)
        if not isinstance(noise, Preconditioned) or (self.tensors is None and has_squares):
            return
        if self.tensors is None:
            self.tensors = self._zeros()
        for square, slot in zip(self.tensors, self.slots, strict=True):
            gradient = slot.parameter.grad
            if gradient is None:
                continue
            unscaled = gradient / grad_scale
            square.mul_(noise.decay).addcmul_(unscaled, unscaled, value=1 - noise.decay)
            gradient.mul_(noise.preconditioner(square))


class FirstWeights(Memory):
    """A copy of the weights at the time when the rule was attached."""

    saved_as = "starts"

    def __init__(self, rule: Rule, slots: Sequence[Slot]) -> None:
        super().__init__(rule, slots)
        self.tensors = [slot.parameter.detach().clone() for slot in slots]


MEMORIES: Mapping[str | None, type[Memory]] = {
    None: Memory,
    "gradient": LastGradients,
    "momentum": Momenta,
    "squares": RunningSquares,
    "start": FirstWeights,
}
"""Classes by the name under which a noise asks for them."""


def zero_moments(slot: Slot, mask: Tensor) -> None:
    """Zero the optimizer's moments of a parameter where a mask is true."""
    for name in MOMENTS:
        moment = slot.moment((name,))
        if moment is not None:
            moment.masked_fill_(mask, 0.0)
