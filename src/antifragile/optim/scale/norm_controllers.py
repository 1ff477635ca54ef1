"""Scales that depend on gradient norms: in proportion to the gradient, or only while it is small.

All arithmetic is per replica. At a step whose gradient is not finite, state and value stay those
of the step before (`AttachedRule.set_value`).

Shape letters: R replicas (1 where there are none), T tensors with a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from antifragile.optim.checks import check_number
from antifragile.optim.scale.schedules import ControllerState, OuterScale, Scale, ScaleAndState
from antifragile.optim.scale.signals import Array, Signals

_TINY = 1e-300


@dataclass(frozen=True)
class RatioToGradient(Scale):
    """Noise whose norm is ``ratio`` times the gradient's, smoothed over steps.

    Args:
        ratio: Norm of the noise divided by that of the gradient.
        memory: Weight of the past in the moving average of the gradient norm; 0 uses the last
            gradient alone.
    """

    ratio: float
    memory: float = 0.0
    needs: ClassVar[frozenset[str]] = frozenset({"norms"})

    def __post_init__(self) -> None:
        check_number(self.ratio, "the ratio")
        check_number(self.memory, "memory", at_most=1.0)

    def initial(self, replicas: int) -> ControllerState:
        """No average before the first gradient."""
        return {"norm": np.full(replicas, np.nan)}

    def value(self, signals: Signals, state: ControllerState) -> ScaleAndState:
        """Compute ``ratio`` times the averaged norm; zero before the first gradient."""
        if signals.gradient_norm is None:
            return 0.0, state
        before = np.where(np.isnan(state["norm"]), signals.gradient_norm, state["norm"])
        norm = self.memory * before + (1 - self.memory) * signals.gradient_norm
        return self.ratio * norm / signals.unit_norm, {"norm": norm}


@dataclass(frozen=True)
class WhenSmallGradient(Scale):
    """``size`` at a step whose gradient is small, then zero for a while.

    Args:
        size: The scale at such a step.
        threshold: Largest gradient norm that counts as small.
        wait: Steps that must have passed since the last perturbation.

    Source: Jin et al. 2017, arXiv 1703.00887, algorithm 2.
    """

    size: float
    threshold: float
    wait: int = 1
    needs: ClassVar[frozenset[str]] = frozenset({"norms"})

    def __post_init__(self) -> None:
        check_number(self.size, "the scale")
        check_number(self.threshold, "the threshold")
        check_number(self.wait, "wait", at_least=1)

    def initial(self, replicas: int) -> ControllerState:
        """No perturbation yet: the last one lies at step minus infinity."""
        return {"last": np.full(replicas, -np.inf)}

    def value(self, signals: Signals, state: ControllerState) -> ScaleAndState:
        """Return ``size`` or zero."""
        if signals.gradient_norm is None:
            return 0.0, state
        rested = signals.step - state["last"] > self.wait
        due = rested & (signals.gradient_norm <= self.threshold)
        return np.where(due, self.size, 0.0), {"last": np.where(due, signals.step, state["last"])}


@dataclass(frozen=True)
class Revive(OuterScale):
    """Noise only while the network is dead; none once gradients flow.

    The median gradient norm of the matrices is divided by a reference: the larger of its own
    recent peak and of the largest gradient norm of any tensor at this step. The latter makes the
    scale work from the first step: in a network that is dead from the start only the last bias
    has a gradient. Noise begins when the ratio falls to ``fraction`` and ends when it has risen to
    ``release``; in between it fades with the logarithm of the ratio, so that it does not overshoot.
    The schedule inside counts only steps without noise, so that the noise is not annealed away
    while the network is still dead.

    Args:
        scale: A number or a schedule.
        fraction: Share of the reference at or below which the network counts as dead.
        release: Share of the reference from which it counts as alive again.
        horizon: Steps after which the recent peak has fallen to 1/e.
    """

    fraction: float = 0.02
    release: float = 0.5
    horizon: int = 500
    needs: ClassVar[frozenset[str]] = frozenset({"norms"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.fraction, "the fraction", at_most=1.0, above=True)
        check_number(self.release, "the release", at_least=self.fraction, at_most=1.0)
        check_number(self.horizon, "the horizon", at_least=1)

    def initial(self, replicas: int) -> ControllerState:
        """No peak and no step alive before the first gradient."""
        zeros = np.zeros(replicas)
        return {"peak": zeros, "alive": zeros, "is_dead": zeros}

    def value(self, signals: Signals, state: ControllerState) -> ScaleAndState:
        """Compute the schedule's value while dead; zero while alive and before a gradient."""
        if signals.gradient_norm is None:
            return 0.0, state
        median, largest = _median_and_largest(signals)
        reference = np.maximum(state["peak"], largest)
        edge = np.where(state["is_dead"] > 0, self.release, self.fraction)
        is_dead = (median < edge * reference) | (reference == 0)
        size = self.inner.at(state["alive"]) * self._share(median, reference)
        after = {
            "peak": np.maximum(median, state["peak"] * np.exp(-1.0 / self.horizon)),
            "alive": state["alive"] + ~is_dead,
            "is_dead": is_dead.astype(float),
        }
        return np.where(is_dead, size, 0.0), after

    def _share(self, median: Array, reference: Array) -> Array:
        """Share of the noise: one up to ``fraction`` of the reference, zero from ``release`` on."""
        ratio = np.maximum(median, _TINY) / np.maximum(reference, 1e-100)
        span = max(np.log(self.release / self.fraction), _TINY)
        return np.asarray(np.clip(np.log(self.release / ratio) / span, 0.0, 1.0))


def _median_and_largest(signals: Signals) -> tuple[Array, Array]:
    """Median gradient norm over matrices and largest over all tensors, both (R,)."""
    norms, is_matrix = signals.tensor_norms, signals.is_matrix
    assert norms is not None
    assert is_matrix is not None
    assert signals.gradient_norm is not None
    if is_matrix.sum() < 2:  # no layers to compare: use the norm of the whole gradient
        return signals.gradient_norm, signals.gradient_norm
    return np.median(norms[:, is_matrix], axis=1), norms.max(axis=1)
