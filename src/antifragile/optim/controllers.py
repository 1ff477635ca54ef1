"""How much, by looking: scales that follow gradients, their variance, the curvature, or death.

All arithmetic is per replica. A step whose gradient is not finite is not looked at (the handle
keeps the state and the value of the step before).

Shape letters: R replicas (1 where there are none), T tensors with a gradient, K sampled elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from antifragile.optim.scale import Array, Scale, Signals, State, as_scale, check_number

_TINY = 1e-300


@dataclass(frozen=True)
class RatioToGradient(Scale):
    """Noise whose norm is ``ratio`` times the gradient's, smoothed over steps.

    Args:
        ratio: Of the norms.
        memory: Weight of the past in the moving average of the gradient norm; 0 is none.
    """

    ratio: float
    memory: float = 0.0
    needs: ClassVar[frozenset[str]] = frozenset({"norms"})

    def __post_init__(self) -> None:
        check_number(self.ratio, "the ratio")
        check_number(self.memory, "memory", at_most=1.0)

    def initial(self, replicas: int) -> State:
        """No average yet."""
        return {"norm": np.full(replicas, np.nan)}

    def value(self, signals: Signals, state: State) -> tuple[float | Array, State]:
        """Zero before the first gradient."""
        if signals.gradient_norm is None:
            return 0.0, state
        before = np.where(np.isnan(state["norm"]), signals.gradient_norm, state["norm"])
        norm = self.memory * before + (1 - self.memory) * signals.gradient_norm
        return self.ratio * norm / signals.unit_norm, {"norm": norm}


@dataclass(frozen=True)
class WhenSmallGradient(Scale):
    """One kick when the gradient is small, then none for a while.

    Args:
        size: The scale of the kick.
        threshold: The gradient norm at or below which it is due.
        wait: Steps that must have passed since the last one.

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

    def initial(self, replicas: int) -> State:
        """Never kicked."""
        return {"last": np.full(replicas, -np.inf)}

    def value(self, signals: Signals, state: State) -> tuple[float | Array, State]:
        """``size`` or zero."""
        if signals.gradient_norm is None:
            return 0.0, state
        rested = signals.step - state["last"] > self.wait
        due = rested & (signals.gradient_norm <= self.threshold)
        return np.where(due, self.size, 0.0), {"last": np.where(due, signals.step, state["last"])}


@dataclass(frozen=True)
class GradVariance(Scale):
    """Tops the gradient's own noise up: full noise where it has none, none where it has enough.

        s_t = s sqrt(max(0, 1 - var_t / target^2))

    with ``var_t`` the mean variance of a gradient element around its moving mean: from Adam's
    moments, ``exp_avg_sq - exp_avg^2`` (both debiased), where the optimizer keeps them, else from
    moving averages of our own over a sample of the elements (at most 1024 of each tensor).
    Gradient noise of scale s then keeps the total standard deviation at s.

    Args:
        scale: s, a number or a schedule.
        target: Standard deviation of a gradient element at which no noise is added. None: the
            scale itself for gradient noise; for others the largest seen so far.
        memory: Decay of our own averages.
    """

    scale: float | Scale
    target: float | None = None
    memory: float = 0.95
    needs: ClassVar[frozenset[str]] = frozenset({"samples"})

    def __post_init__(self) -> None:
        as_scale(self.scale)
        check_number(self.memory, "memory", at_most=1.0)
        if self.target is not None:
            check_number(self.target, "the target", above=True)

    @property
    def learning_rate_power(self) -> float:  # type: ignore[override]
        """Of the schedule inside."""
        return as_scale(self.scale).learning_rate_power

    def initial(self, replicas: int) -> State:
        """Averages of nothing."""
        none = np.zeros((replicas, 0))
        return {
            "mean": none,
            "square": none,
            "count": np.zeros(replicas),
            "peak": np.zeros(replicas),
        }

    def value(self, signals: Signals, state: State) -> tuple[float | Array, State]:
        """Full noise before the first gradient."""
        base = as_scale(self.scale).at(np.array(float(signals.step)))
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

    def _variance(self, signals: Signals, state: State) -> tuple[Array, State]:
        """The mean variance of a gradient element, (R,)."""
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
class Curvature(Scale):
    """As large as the curvature lets it be: the expected rise of the loss stays where it began.

    Noise of scale s raises the loss by about ``s^2 d h / 2``, h the mean curvature. With h_0 the
    curvature of the first steps this holds that rise constant:

        s_t = s sqrt(h_0 / h_t), at most ``largest`` times s

    h is the secant estimate <y, x> / <x, x> between successive gradients and the points where they
    were taken, over a sample of the elements (at most 1024 of each tensor), numerator and
    denominator averaged over steps.

    Args:
        scale: s, a number or a schedule.
        memory: Decay of the averages.
        warmup: Steps that make up h_0; the scale is s until then.
        largest: Bound of the factor, and of its inverse.
    """

    scale: float | Scale
    memory: float = 0.95
    warmup: int = 20
    largest: float = 10.0
    needs: ClassVar[frozenset[str]] = frozenset({"samples"})

    def __post_init__(self) -> None:
        as_scale(self.scale)
        check_number(self.memory, "memory", at_most=1.0)
        check_number(self.warmup, "warmup", at_least=1)
        check_number(self.largest, "largest", at_least=1.0)

    @property
    def learning_rate_power(self) -> float:  # type: ignore[override]
        """Of the schedule inside."""
        return as_scale(self.scale).learning_rate_power

    def initial(self, replicas: int) -> State:
        """No earlier gradient."""
        none, zeros = np.zeros((replicas, 0)), np.zeros(replicas)
        return {
            "gradient": none,
            "weight": none,
            "product": zeros,
            "square": zeros,
            "count": zeros,
            "first": zeros,
        }

    def value(self, signals: Signals, state: State) -> tuple[float | Array, State]:
        """The base scale until ``warmup`` secants were seen."""
        base = as_scale(self.scale).at(np.array(float(signals.step)))
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

    def _averages(self, change: Array, moved: Array, state: State) -> State:
        """Moving averages of <y, x> and <x, x>, (R,) each."""
        product, square = (change * moved).sum(axis=1), (moved * moved).sum(axis=1)
        keep = self.memory
        return {
            "product": keep * state["product"] + (1 - keep) * product,
            "square": keep * state["square"] + (1 - keep) * square,
            "count": state["count"] + 1,
        }


@dataclass(frozen=True)
class Revive(Scale):
    """Noise only while the network is dead; none once gradients flow.

    What is watched is the median gradient norm of the matrices, relative to a reference: the
    larger of its own recent peak and of the loudest tensor's gradient now. The second makes it
    work from the first step: in a network that never lived only the last bias has a gradient.
    Noise begins when that ratio falls to ``fraction`` and ends when it has risen to ``release``;
    in between it fades with the logarithm of the ratio, so that large noise does not overshoot.
    The schedule inside runs on the number of steps without noise, so that the noise is not
    annealed away before it has done its work.

    Args:
        scale: A number or a schedule.
        fraction: Of the reference, at or below which the network counts as dead.
        release: Of the reference, from which it counts as alive again.
        horizon: Steps after which the recent peak has fallen to 1/e.
    """

    scale: float | Scale
    fraction: float = 0.02
    release: float = 0.5
    horizon: int = 500
    needs: ClassVar[frozenset[str]] = frozenset({"norms"})

    def __post_init__(self) -> None:
        as_scale(self.scale)
        check_number(self.fraction, "the fraction", at_most=1.0, above=True)
        check_number(self.release, "the release", at_least=self.fraction, at_most=1.0)
        check_number(self.horizon, "the horizon", at_least=1)

    @property
    def learning_rate_power(self) -> float:  # type: ignore[override]
        """Of the schedule inside."""
        return as_scale(self.scale).learning_rate_power

    def initial(self, replicas: int) -> State:
        """No history, never alive."""
        zeros = np.zeros(replicas)
        return {"peak": zeros, "alive": zeros, "is_dead": zeros}

    def value(self, signals: Signals, state: State) -> tuple[float | Array, State]:
        """The schedule's value while dead, zero while alive and before the first gradient."""
        if signals.gradient_norm is None:
            return 0.0, state
        inner, loudest = _inner_and_loudest(signals)
        reference = np.maximum(state["peak"], loudest)
        edge = np.where(state["is_dead"] > 0, self.release, self.fraction)
        is_dead = (inner < edge * reference) | (reference == 0)
        size = as_scale(self.scale).at(state["alive"]) * self._share(inner, reference)
        after = {
            "peak": np.maximum(inner, state["peak"] * np.exp(-1.0 / self.horizon)),
            "alive": state["alive"] + ~is_dead,
            "is_dead": is_dead.astype(float),
        }
        return np.where(is_dead, size, 0.0), after

    def _share(self, inner: Array, reference: Array) -> Array:
        """One at ``fraction`` of the reference and below, falling to zero at ``release``."""
        ratio = np.maximum(inner, _TINY) / np.maximum(reference, 1e-100)
        span = max(np.log(self.release / self.fraction), _TINY)
        return np.asarray(np.clip(np.log(self.release / ratio) / span, 0.0, 1.0))


def _mean_variance(mean: Array, square: Array) -> Array:
    """Mean over elements of their variance, (R,); what rounding leaves of none is none."""
    variance = np.maximum(square - mean**2, 0.0).mean(axis=1)
    return np.where(variance > 1e-9 * square.mean(axis=1), variance, 0.0)


def _inner_and_loudest(signals: Signals) -> tuple[Array, Array]:
    """The median norm over matrices and the largest over all tensors, both (R,)."""
    norms, is_matrix = signals.tensor_norms, signals.is_matrix
    assert norms is not None
    assert is_matrix is not None
    assert signals.gradient_norm is not None
    if is_matrix.sum() < 2:  # no layers to compare: the whole gradient against its own history
        return signals.gradient_norm, signals.gradient_norm
    return np.median(norms[:, is_matrix], axis=1), norms.max(axis=1)
