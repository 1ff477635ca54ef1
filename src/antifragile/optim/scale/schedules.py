"""Scales that depend only on the step number, and the interface of all scales.

A scale gives one number per replica and step, by which the unit noise is multiplied. A scale with
a state (a controller) keeps none itself: the state is a dict of arrays with a leading replica
dimension that is passed in and out, so that it can be saved. Scales that look at gradients are in
`norm_controllers.py` and `sample_controllers.py`.

Shape letters: R replicas (1 where there are none).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from antifragile.errors import UsageError
from antifragile.optim.checks import check_number
from antifragile.optim.noise.streams import uniform
from antifragile.optim.scale.signals import Array, Signals

Steps = np.ndarray | np.float64
ControllerState = dict[str, Array]
"""Arrays by name, each with a leading replica dimension."""

ScaleAndState = tuple[float | Array, ControllerState]
"""The scale at a step, a number or (R,) numbers, and the controller's state after it."""


class Scale:
    """A magnitude as a function of the step and, for controllers, of the gradients.

    Class attributes:
        needs: The signals it looks at: ``"norms"`` of gradients, ``"samples"`` of elements.
        learning_rate_power: The value is multiplied by this power of each group's learning rate.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    learning_rate_power: ClassVar[float] = 0.0

    def initial(self, replicas: int) -> ControllerState:
        """Make the controller's state before the first step."""
        return {}

    def at(self, step: Steps) -> Array:
        """Compute the scale at a step or an array of steps; controllers have no such function."""
        raise UsageError(
            f"{type(self).__name__} is no schedule of the step alone and cannot be put inside "
            "another scale; expected a number, Constant, Power, Cosine or On."
        )

    def value(self, signals: Signals, state: ControllerState) -> ScaleAndState:
        """Compute the scale for ``signals.step``, a number or (R,), and the state after it."""
        return float(self.at(np.float64(signals.step))), state


def as_scale(value: float | Scale, name: str = "scale") -> Scale:
    """Make a constant scale of a number; leave a scale as it is.

    Raises:
        UsageError: The value is neither a number nor a scale, or negative, or not finite.
    """
    if isinstance(value, Scale):
        return value
    return Constant(check_number(value, name))


@dataclass(frozen=True)
class Constant(Scale):
    """The same at every step."""

    size: float

    def __post_init__(self) -> None:
        check_number(self.size, "the constant scale")

    def at(self, step: Steps) -> Array:
        """Return ``size``."""
        return np.full_like(step, self.size)

    def value(self, signals: Signals, state: ControllerState) -> ScaleAndState:
        """Return ``size``."""
        return float(self.size), state


@dataclass(frozen=True)
class Power(Scale):
    """Annealed noise: its variance is ``eta / (1 + t)**gamma``, its scale the square root of that.

    Args:
        eta: Variance at step 0.
        gamma: Exponent with which the variance decays.

    Source: Neelakantan et al. 2015, arXiv 1511.06807, equation 1.
    """

    eta: float
    gamma: float = 0.55

    def __post_init__(self) -> None:
        check_number(self.eta, "eta")
        check_number(self.gamma, "gamma")

    def at(self, step: Steps) -> Array:
        """Compute the standard deviation."""
        return np.asarray(math.sqrt(self.eta) * (1.0 + step) ** (-self.gamma / 2))


@dataclass(frozen=True)
class Cosine(Scale):
    """Half a cosine from ``size`` to zero at step ``steps``, zero afterwards.

    Args:
        size: The scale at step 0.
        steps: The step at which it reaches zero.
    """

    size: float
    steps: int

    def __post_init__(self) -> None:
        check_number(self.size, "the cosine's scale")
        check_number(self.steps, "the cosine's steps", at_least=1)

    def at(self, step: Steps) -> Array:
        """Compute ``size (1 + cos(pi t / steps)) / 2``."""
        return np.asarray(
            self.size * 0.5 * (1 + np.cos(np.pi * np.minimum(step / self.steps, 1.0)))
        )


@dataclass(frozen=True)
class OuterScale(Scale):
    """A scale with another one inside.

    Args:
        scale: The scale inside, a number or a schedule.
    """

    scale: float | Scale

    def __post_init__(self) -> None:
        as_scale(self.scale)

    @property
    def inner(self) -> Scale:
        """The scale inside as an object."""
        return as_scale(self.scale)

    @property
    def learning_rate_power(self) -> float:  # type: ignore[override]  # depends on an argument
        """Learning rate power of the scale inside."""
        return self.inner.learning_rate_power


@dataclass(frozen=True)
class On(OuterScale):
    """Another scale inside a window of steps, zero outside.

    Args:
        scale: A number or any scale.
        start: First step with noise.
        until: First step without noise again; None is never.
        every: Distance of the steps with noise; the first of them is ``start + every - 1``.
    """

    scale: float | Scale = 1.0
    start: int = 0
    until: int | None = None
    every: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.start, "start")
        check_number(self.every, "every", at_least=1)
        if self.until is not None:
            check_number(self.until, "until", at_least=self.start)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]  # depends on an argument
        """Signals that the scale inside looks at."""
        return self.inner.needs

    def _inside(self, step: Steps) -> Array:
        until = math.inf if self.until is None else self.until
        due = (step - self.start + 1) % self.every == 0
        return np.asarray((step >= self.start) & (step < until) & due)

    def at(self, step: Steps) -> Array:
        """Compute the inner schedule inside the window, zero outside."""
        return np.asarray(np.where(self._inside(step), self.inner.at(step), 0.0))

    def initial(self, replicas: int) -> ControllerState:
        """Make the state of the scale inside."""
        return self.inner.initial(replicas)

    def value(self, signals: Signals, state: ControllerState) -> ScaleAndState:
        """Compute the inner value or zero; a controller inside sees the steps outside too."""
        value, state = self.inner.value(signals, state)
        return (value if bool(self._inside(np.array(signals.step))) else 0.0), state


@dataclass(frozen=True)
class Chance(Scale):
    """``size`` with probability ``rate`` at each step, else zero; fixed by seed and step.

    Args:
        rate: Probability per step, in [0, 1].
        size: The scale when it happens.
    """

    rate: float
    size: float = 1.0

    def __post_init__(self) -> None:
        check_number(self.rate, "the rate", at_most=1.0)
        check_number(self.size, "the scale")

    def value(self, signals: Signals, state: ControllerState) -> ScaleAndState:
        """Decide for each replica."""
        drawn = np.array(uniform(signals.stream))
        return np.where(drawn < self.rate, self.size, 0.0), state


@dataclass(frozen=True)
class Proportional(Scale):
    """``factor`` times each group's learning rate: for decay that follows the schedule.

    Args:
        factor: The scale at learning rate one.
    """

    factor: float
    learning_rate_power: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_number(self.factor, "the factor")

    def at(self, step: Steps) -> Array:
        """Return ``factor``; the learning rate is multiplied per group."""
        return np.full_like(step, self.factor)


@dataclass(frozen=True)
class Langevin(Scale):
    """Noise of Langevin dynamics for gradient steps of the mean loss: ``sqrt(2 lr T / n)``.

    With loss L = U / n (U the negative log posterior, a sum over n samples) a step of SGD is a
    Langevin step of size ``h = lr / n`` on U, whose noise has variance ``2 h T``.

    Args:
        temperature: T; at 1 the posterior is sampled.
        n_samples: n; 1 where the loss is U itself.

    Source: Welling & Teh 2011, equation 4 (there with eps = 2 h).
    """

    temperature: float = 1.0
    n_samples: int = 1
    learning_rate_power: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        check_number(self.temperature, "the temperature")
        check_number(self.n_samples, "n_samples", at_least=1)

    def at(self, step: Steps) -> Array:
        """Compute ``sqrt(2 T / n)``; the root of the learning rate is multiplied per group."""
        return np.full_like(step, math.sqrt(2 * self.temperature / self.n_samples))
