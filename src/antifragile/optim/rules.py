"""Rules: place, noise, scale and parameters of one perturbation of the update equation."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

from antifragile.errors import UsageError, nearest
from antifragile.optim.noise.base import Noise
from antifragile.optim.noise.composed import Anti
from antifragile.optim.scale.schedules import Scale, as_scale

Predicate = Callable[[str, Tensor], bool]

INTEGERS = "integers"
"""The inputs that are token ids, whatever the name of their argument."""


class Place(StrEnum):
    """The place where a perturbation enters the update equation.

    INPUT: added to the inputs of the model, in training mode.
    GRAD: added to the gradient, before the optimizer sees it.
    WEIGHT: added to the weights, for one gradient only.
    STEP: added to the weights for good, after the optimizer's step.
    """

    INPUT = "input"
    GRAD = "grad"
    WEIGHT = "weight"
    STEP = "step"


@dataclass(frozen=True)
class Rule:
    """One perturbation of the update equation.

    Args:
        where: ``"input"``, ``"grad"``, ``"weight"`` or ``"step"``.
        noise: The unit noise to add.
        scale: The magnitude: a number, a schedule or a controller.
        params: The parameters it acts on: None for all that need a gradient, ``"matrices"`` for
            those of two dimensions or more outside of norm layers, a regular expression found in
            the name, or ``predicate(name, parameter)``.
        inputs: The arguments of the model's forward that a rule on ``"input"`` acts on: their
            names, or keys of a mapping among them; ``"integers"`` for the first integers that a
            `torch.nn.Embedding` reads, as of token ids; None for the first floating-point tensor,
            and where there is none the same as ``"integers"``. Integers get the noise once the
            embedding has read them.

    Raises:
        UsageError: A part has the wrong type or value, or two parts do not go together.

    Example:
        >>> Rule("weight", Gaussian(), 0.01, params="matrices").where
        <Place.WEIGHT: 'weight'>
    """

    where: Place | str
    noise: Noise
    scale: float | Scale
    params: str | Predicate | None = None
    inputs: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.where not in list(Place):
            raise UsageError(
                f"a rule acts on {self.where!r}; {nearest(str(self.where), list(Place))}"
            )
        object.__setattr__(self, "where", Place(self.where))
        if not isinstance(self.noise, Noise):
            raise UsageError(
                f"a rule has the noise {self.noise!r}; expected one such as Gaussian() or Along()."
            )
        as_scale(self.scale)
        self._check_params()
        self._check_inputs()
        self._check_place()

    @property
    def schedule(self) -> Scale:
        """The scale as an object."""
        return as_scale(self.scale)

    @property
    def signature(self) -> str:
        """Text by which a saved state recognises its rule; says nothing about a function."""
        params = "a function" if callable(self.params) else repr(self.params)
        inputs = "" if self.inputs is None else f" of {self.inputs!r}"
        return f"{self.where}: {self.noise!r} * {self.schedule!r} on {params}{inputs}"

    def _check_params(self) -> None:
        if self.params is None or callable(self.params):
            return
        if not isinstance(self.params, str):
            raise UsageError(
                f"params is {self.params!r}; expected None, 'matrices', a regular expression or "
                "a function of name and parameter."
            )
        try:
            re.compile(self.params)
        except re.error as error:
            raise UsageError(f"params {self.params!r} is no regular expression: {error}.") from None

    def _check_inputs(self) -> None:
        if self.inputs is None:
            return
        if self.where is not Place.INPUT:
            raise UsageError(f"inputs names what 'input' acts on; got {str(self.where)!r}.")
        if self.inputs == INTEGERS:
            return
        given = self.inputs
        names = (given,) if isinstance(given, str) else given
        is_list = isinstance(names, Sequence) and all(isinstance(name, str) for name in names)
        if not is_list or not names:
            raise UsageError(
                f"inputs is {given!r:.200}; expected None, 'integers', or one or more names of "
                "arguments of the model's forward."
            )
        object.__setattr__(self, "inputs", tuple(names))

    def _check_place(self) -> None:
        noise = self.noise
        if noise.only is not None and self.where != noise.only:
            raise UsageError(f"{noise!r} acts on {noise.only!r} alone; got {str(self.where)!r}.")
        if noise.needs_closure and self.where is not Place.WEIGHT:
            raise UsageError(f"{noise!r} with exact=True acts on 'weight' alone; got {self.where}.")
        if isinstance(noise, Anti) and self.where not in (Place.GRAD, Place.STEP):
            raise UsageError(
                f"Anti acts on 'grad' or 'step'; got {str(self.where)!r}. On 'weight' use "
                f"{noise.noise!r} itself: it is taken out before the next is put in."
            )
        if self.where is Place.INPUT:
            if noise.remembers is not None:
                raise UsageError(f"an input rule cannot use {noise!r}; use Gaussian or Rademacher.")
            if self.params is not None:
                raise UsageError("an input rule acts on no parameter; leave params out.")
