"""How much: schedules of the step alone.

The scales that look at gradients are in `norm_controllers.py` and `sample_controllers.py`.

A scale answers with a number per replica for a step. Its own state, if it has any, is a dict of
arrays with a leading replica dimension that the handle keeps, saves and hands back.

Shape letters: R replicas (1 where there are none), T tensors with a gradient, K sampled elements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from antifragile.errors import UsageError
from antifragile.optim.checks import check_number
from antifragile.optim.noise.streams import Stream, uniform

Array = np.ndarray
Steps = np.ndarray | np.float64
State = dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What a scale may look at; everything but the step is None before the first gradient.

    Args:
        step: The step whose noise is being scaled, 0-based.
        stream: For scales that decide by chance.
        n_elements: Of the rule's parameters, per replica.
        unit_norm: Norm of the rule's noise at scale one, about.
        is_gradient_noise: Whether the rule acts on gradients.
        gradient_norm: (R,) over all the rule's parameters, in unscaled units.
        tensor_norms: (R, T) of each tensor's gradient.
        is_matrix: (T,) bool, which of those tensors have two or more dimensions.
        sampled: Arrays (R, K) of sampled elements: ``gradient``, ``weight``; ``mean``, ``square``
            where the optimizer keeps Adam's moments.
        betas: Decay rates of those moments.
        moment_steps: How often they were updated.
    """

    step: int
    stream: Stream
    n_elements: int
    unit_norm: float
    is_gradient_noise: bool = False
    gradient_norm: Array | None = None
    tensor_norms: Array | None = None
    is_matrix: Array | None = None
    sampled: Mapping[str, Array] = field(default_factory=dict)
    betas: tuple[float, float] = (0.9, 0.999)
    moment_steps: float = 0.0


class Scale:
    """A magnitude as a function of the step, and for controllers of the gradients.

    ``needs`` names what it looks at: ``"norms"`` of gradients, ``"samples"`` of elements.
    ``learning_rate_power`` multiplies by that power of each group's learning rate.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    learning_rate_power: ClassVar[float] = 0.0

    def initial(self, replicas: int) -> State:
        """The controller's state before the first step."""
        return {}

    def at(self, step: Steps) -> Array:
        """The scale at a step or an array of steps; only schedules of the step alone have it."""
        raise UsageError(
            f"{type(self).__name__} is no schedule of the step alone and cannot be put inside "
            "another scale; expected a number, Constant, Power, Cosine or On."
        )

    def value(self, signals: Signals, state: State) -> tuple[float | Array, State]:
        """The scale for ``signals.step`` and the state after it: a number or (R,)."""
        return float(self.at(np.float64(signals.step))), state


def as_scale(value: float | Scale, name: str = "scale") -> Scale:
    """A number becomes a constant scale.

    Raises:
        UsageError: Neither a number nor a scale, or negative, or not finite.
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
        """``size``."""
        return np.full_like(step, self.size)

    def value(self, signals: Signals, state: State) -> tuple[float | Array, State]:
        """``size``."""
        return float(self.size), state


@dataclass(frozen=True)
class Power(Scale):
    """Annealed noise: its variance is ``eta / (1 + t)**gamma``, its scale the square root of that.

    Args:
        eta: Variance at step 0.
        gamma: Decay of the variance.

    Source: Neelakantan et al. 2015, arXiv 1511.06807, equation 1.
    """

    eta: float
    gamma: float = 0.55

    def __post_init__(self) -> None:
        check_number(self.eta, "eta")
        check_number(self.gamma, "gamma")

    def at(self, step: Steps) -> Array:
        """The standard deviation."""
        return np.asarray(math.sqrt(self.eta) * (1.0 + step) ** (-self.gamma / 2))


@dataclass(frozen=True)
class Cosine(Scale):
    """Half a cosine from ``size`` to zero at step ``steps``, zero afterwards."""

    size: float
    steps: int

    def __post_init__(self) -> None:
        check_number(self.size, "the cosine's scale")
        check_number(self.steps, "the cosine's steps", at_least=1)

    def at(self, step: Steps) -> Array:
        """``size (1 + cos(pi t / steps)) / 2``."""
        return np.asarray(
            self.size * 0.5 * (1 + np.cos(np.pi * np.minimum(step / self.steps, 1.0)))
        )


@dataclass(frozen=True)
class On(Scale):
    """Another scale inside a window of steps, zero outside.

    Args:
        scale: A number or any scale.
        start: First step with noise.
        until: First step without it again; None is never.
        every: Noise only at each ``every``-th step, counted from ``start``, after the first
            ``every - 1``.
    """

    scale: float | Scale = 1.0
    start: int = 0
    until: int | None = None
    every: int = 1

    def __post_init__(self) -> None:
        as_scale(self.scale)
        check_number(self.start, "start")
        check_number(self.every, "every", at_least=1)
        if self.until is not None:
            check_number(self.until, "until", at_least=self.start)

    @property
    def inner(self) -> Scale:
        """The scale inside the window."""
        return as_scale(self.scale)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """What the scale inside looks at."""
        return self.inner.needs

    @property
    def learning_rate_power(self) -> float:  # type: ignore[override]
        """Of the scale inside."""
        return self.inner.learning_rate_power

    def _inside(self, step: Steps) -> Array:
        until = math.inf if self.until is None else self.until
        due = (step - self.start + 1) % self.every == 0
        return np.asarray((step >= self.start) & (step < until) & due)

    def at(self, step: Steps) -> Array:
        """The inner schedule, or zero."""
        return np.asarray(np.where(self._inside(step), self.inner.at(step), 0.0))

    def initial(self, replicas: int) -> State:
        """Of the scale inside."""
        return self.inner.initial(replicas)

    def value(self, signals: Signals, state: State) -> tuple[float | Array, State]:
        """The inner scale's value, or zero; a controller inside goes on watching outside."""
        value, state = self.inner.value(signals, state)
        return (value if bool(self._inside(np.array(signals.step))) else 0.0), state


@dataclass(frozen=True)
class Chance(Scale):
    """``size`` with probability ``rate`` at a step, else zero; decided by the seed and the step.

    Args:
        rate: Probability per step, in [0, 1].
        size: The scale when it happens.
    """

    rate: float
    size: float = 1.0

    def __post_init__(self) -> None:
        check_number(self.rate, "the rate", at_most=1.0)
        check_number(self.size, "the scale")

    def value(self, signals: Signals, state: State) -> tuple[float | Array, State]:
        """One decision per replica."""
        drawn = np.array(uniform(signals.stream))
        return np.where(drawn < self.rate, self.size, 0.0), state


@dataclass(frozen=True)
class Proportional(Scale):
    """``factor`` times each group's learning rate: for decay that follows the schedule."""

    factor: float
    learning_rate_power: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_number(self.factor, "the factor")

    def at(self, step: Steps) -> Array:
        """``factor``; the learning rate is multiplied per group."""
        return np.full_like(step, self.factor)


@dataclass(frozen=True)
class Langevin(Scale):
    """The noise of Langevin dynamics beside a gradient step of the mean loss: ``sqrt(2 lr T / n)``.

    With loss L = U / n (U the negative log posterior, a sum over n samples) a step of SGD is a
    Langevin step of size ``h = lr / n`` on U, whose noise has variance ``2 h T``.

    Args:
        temperature: T; 1 samples the posterior.
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
        """``sqrt(2 T / n)``; the square root of the learning rate is multiplied per group."""
        return np.full_like(step, math.sqrt(2 * self.temperature / self.n_samples))
