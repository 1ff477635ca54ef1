"""Perturbations by the names under which the experiments compare them.

Everything here is built from the parts of `antifragile.optim`; an experiment names a method and a
magnitude and gets rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import nn

from antifragile.optim import presets
from antifragile.optim.attach.perturb import perturb
from antifragile.optim.noise.drawn import Gaussian
from antifragile.optim.rules import Rule
from antifragile.optim.scale.norm_controllers import Revive
from antifragile.optim.scale.sample_controllers import Curvature, GradVariance
from antifragile.optim.scale.schedules import Constant, On, Power, Scale
from antifragile.optim.scale.signals import Signals
from benchmarks.perturbation.training.loop import Clean

Rules = tuple[Rule, ...]
State = dict[str, np.ndarray]


@contextmanager
def attach(
    optimizer: torch.optim.Optimizer,
    rules: Sequence[Rule],
    *,
    seeds: Sequence[int],
    model: nn.Module | None = None,
) -> Iterator[Clean]:
    """Perturb an optimizer of R replicas inside the block; gives a context of clean weights.

    Args:
        optimizer: Its parameters have a leading replica dimension.
        rules: The perturbation; without rules the optimizer stays as it is.
        seeds: Seeds of the noise, one per replica.
        model: Needed by rules on inputs.
    """
    if not rules:
        yield nullcontext
        return
    handle = perturb(optimizer, *rules, seed=list(seeds), model=model, replicas=len(seeds))
    try:
        yield handle.clean
    finally:
        handle.remove()


class Schedule(StrEnum):
    """Schedules of gradient noise over time, for one eta.

    NONE: no noise.
    FIXED: variance eta / (1 + t)^gamma, as published.
    REVIVE: the same, but only while the network is dead, and annealed by the steps it lived.
    GRAD_VARIANCE: tops the gradient's own noise up to variance eta.
    CURVATURE: variance eta where the curvature is that of the start, less where it is greater.
    """

    NONE = "none"
    FIXED = "fixed"
    REVIVE = "revive"
    GRAD_VARIANCE = "grad_variance"
    CURVATURE = "curvature"


def gradient_noise(schedule: Schedule, *, eta: float, gamma: float = 0.55) -> Rules:
    """Gaussian noise on the gradient under a schedule."""
    if schedule is Schedule.NONE:
        return ()
    scales: dict[Schedule, Scale] = {
        Schedule.FIXED: Power(eta, gamma),
        Schedule.REVIVE: Revive(Power(eta, gamma)),
        Schedule.GRAD_VARIANCE: GradVariance(eta**0.5),
        Schedule.CURVATURE: Curvature(eta**0.5),
    }
    return (Rule("grad", Gaussian(), scales[schedule]),)


class WeightNoise(StrEnum):
    """Noise of standard deviation s on the weights."""

    NONE = "GD"
    PLAIN = "plain noise"
    ANTI = "Anti-PGD"
    GRAD_VARIANCE = "Anti-PGD, grad_variance"
    CURVATURE = "Anti-PGD, curvature"


@dataclass(frozen=True)
class PerReplica(Scale):
    """A scale times a number of each replica, so that one run tries many magnitudes.

    Args:
        inner: Any scale whose answer is proportional to its size, at size one.
        sizes: (R,).
    """

    inner: Scale
    sizes: tuple[float, ...]

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]  # a property, as On has it
        """Signals that the inner scale needs."""
        return self.inner.needs

    def initial(self, replicas: int) -> State:
        """State of the inner scale before the first step."""
        return self.inner.initial(replicas)

    def value(self, signals: Signals, state: State) -> tuple[np.ndarray, State]:
        """The inner value times the sizes, (R,)."""
        value, state = self.inner.value(signals, state)
        return np.asarray(value) * np.array(self.sizes), state


def weight_noise(method: WeightNoise, *, sizes: Sequence[float], until: int) -> Rules:
    """Noise on the weights up to a step, from which on there is none.

    Args:
        method: The kind of noise.
        sizes: Standard deviation of each replica, (R,).
        until: First step without noise.
    """
    if method is WeightNoise.NONE:
        return ()
    controllers: dict[WeightNoise, Scale] = {
        WeightNoise.GRAD_VARIANCE: GradVariance(1.0),
        WeightNoise.CURVATURE: Curvature(1.0),
    }
    inner = controllers.get(method, Constant(1.0))
    scale = On(PerReplica(inner, tuple(sizes)), until=until)
    if method is WeightNoise.PLAIN:
        return (Rule("step", Gaussian(), scale),)
    return presets.anti_pgd(scale)
