"""Scales that depend on sampled elements: on the gradient's variance, or on the curvature.

All arithmetic is per replica. At a step whose gradient is not finite, state and value stay those
of the step before (`AttachedRule.set_value`).

Shape letters: R replicas (1 where there are none), K sampled elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from antifragile.optim.checks import check_number
from antifragile.optim.scale.schedules import ControllerState, OuterScale, ScaleAndState
from antifragile.optim.scale.signals import Array, Signals

_TINY = 1e-300


@dataclass(frozen=True)
class GradVariance(OuterScale):
    """Noise that fills up the gradient's own variance to a target; none where that is reached.

        s_t = s sqrt(max(0, 1 - var_t / target^2))

    with ``var_t`` the mean variance of a gradient element around its moving mean: from Adam's
    moments, ``exp_avg_sq - exp_avg^2`` (both debiased), where the optimizer keeps them; else from
    moving averages kept here over a sample of the elements (at most 1024 of each tensor).
    Gradient noise of scale s then keeps the total standard deviation at s.

    Args:
        scale: s, a number or a schedule.
        target: Standard deviation of a gradient element at which no noise is added. None takes
            the scale itself for gradient noise, the largest deviation so far for other noise.
        memory: Decay rate of the averages kept here.
    """

    target: float | None = None
    memory: float = 0.95
    needs: ClassVar[frozenset[str]] = frozenset({"samples"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.memory, "memory", at_most=1.0)
        if self.target is not None:
            check_number(self.target, "the target", above=True)

    def initial(self, replicas: int) -> ControllerState:
        """Zero-sized moving averages before the first gradient."""
        none, zeros = np.zeros((replicas, 0)), np.zeros(replicas)
        return {"mean": none, "square": none, "count": zeros, "peak": zeros}

    def value(self, signals: Signals, state: ControllerState) -> ScaleAndState:
        """Compute the reduced scale; the whole scale before the first gradient."""
        base = self.inner.at(np.array(float(signals.step)))
        if "gradient" not in signals.sampled:
            return float(base), state
        variance, state = self._variance(signals, state)
        peak = np.maximum(state["peak"], variance)
        if self.target is not None:
            target = np.full_like(variance, self.target**2)
        else:
            target = np.full_like(variance, base**2) if signals.is_gradient_noise else peak
        share = np.maximum(0.0, 1.0 - variance / np.maximum(target, _TINY))
        return base * np.sqrt(share), state | {"peak": peak}

    def _variance(self, signals: Signals, state: ControllerState) -> tuple[Array, ControllerState]:
        """Mean variance of a gradient element, (R,), and the state after it."""
        sampled = signals.sampled
        if "square" in sampled:
            debias = [1 - beta ** max(signals.moment_steps, 1.0) for beta in signals.betas]
            mean, square = sampled["mean"] / debias[0], sampled["square"] / debias[1]
            return _mean_variance(mean, square), state
        gradient = sampled["gradient"]
        if state["mean"].shape != gradient.shape:
            zeros = np.zeros_like(gradient)
            state = state | {"mean": zeros, "square": zeros, "count": np.zeros(len(gradient))}
        mean = self.memory * state["mean"] + (1 - self.memory) * gradient
        square = self.memory * state["square"] + (1 - self.memory) * gradient**2
        count = state["count"] + 1
        debias_all = (1 - self.memory**count)[:, None]
        variance = _mean_variance(mean / debias_all, square / debias_all)
        return variance, state | {"mean": mean, "square": square, "count": count}


@dataclass(frozen=True)
class Curvature(OuterScale):
    """Noise that shrinks where the curvature grows, so that its expected cost stays constant.

    Noise of scale s on d elements raises the loss by about ``s^2 d h / 2``, h the mean curvature.
    With h_0 the curvature of the first steps, this scale keeps that rise constant:

        s_t = s sqrt(h_0 / h_t), at most ``largest`` times s

    h is the secant estimate <y, x> / <x, x> between successive gradients and the points where they
    were taken, over a sample of the elements (at most 1024 of each tensor), numerator and
    denominator averaged over steps.

    Args:
        scale: s, a number or a schedule.
        memory: Decay rate of the averages.
        warmup: Number of steps that determine h_0; the scale is s until then.
        largest: Largest factor; its inverse is the smallest.
    """

    memory: float = 0.95
    warmup: int = 20
    largest: float = 10.0
    needs: ClassVar[frozenset[str]] = frozenset({"samples"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.memory, "memory", at_most=1.0)
        check_number(self.warmup, "warmup", at_least=1)
        check_number(self.largest, "largest", at_least=1.0)

    def initial(self, replicas: int) -> ControllerState:
        """Zero-sized samples and zero averages before the first gradient."""
        none, zeros = np.zeros((replicas, 0)), np.zeros(replicas)
        averages = dict.fromkeys(("product", "square", "count", "first"), zeros)
        return {"gradient": none, "weight": none, **averages}

    def value(self, signals: Signals, state: ControllerState) -> ScaleAndState:
        """Compute the adapted scale; the base scale until ``warmup`` estimates were made."""
        base = self.inner.at(np.array(float(signals.step)))
        if "gradient" not in signals.sampled:
            return float(base), state
        gradient, weight = signals.sampled["gradient"], signals.sampled["weight"]
        now = state | {"gradient": gradient, "weight": weight}
        if state["gradient"].shape != gradient.shape:
            return np.full(len(gradient), float(base)), now
        now |= self._averages(gradient - state["gradient"], weight - state["weight"], state)
        curvature = np.maximum(now["product"] / np.maximum(now["square"], _TINY), _TINY)
        warming = now["count"] <= self.warmup
        now["first"] = np.where(warming, curvature, state["first"])
        factor = np.sqrt(np.maximum(now["first"], _TINY) / curvature)
        factor = np.clip(factor, 1 / self.largest, self.largest)
        return base * np.where(warming, 1.0, factor), now

    def _averages(self, change: Array, moved: Array, state: ControllerState) -> ControllerState:
        """Moving averages of <y, x> and <x, x>, (R,) each."""
        product, square = (change * moved).sum(axis=1), (moved * moved).sum(axis=1)
        keep = self.memory
        return {
            "product": keep * state["product"] + (1 - keep) * product,
            "square": keep * state["square"] + (1 - keep) * square,
            "count": state["count"] + 1,
        }


def _mean_variance(mean: Array, square: Array) -> Array:
    """Mean over elements of their variance, (R,); values within rounding error become zero."""
    variance = np.maximum(square - mean**2, 0.0).mean(axis=1)
    return np.where(variance > 1e-9 * square.mean(axis=1), variance, 0.0)
