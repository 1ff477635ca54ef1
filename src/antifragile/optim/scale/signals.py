"""Signals: the numbers that a scale may look at, read from the gradients of a step.

Shape letters: R replicas (1 where there are none), T tensors with a gradient, K sampled elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from antifragile.optim.noise.norms import tensor_norms
from antifragile.optim.noise.streams import Stream

Array = np.ndarray
MomentState = Mapping[str, Any]
"""An optimizer's state of one parameter: tensors and numbers by name."""

_SAMPLES = 1024  # elements of a tensor that controllers look at


@dataclass(frozen=True, kw_only=True)
class Signals:
    """Numbers that a scale may look at; before the first gradient only the step and its stream.

    Args:
        step: The step whose noise is being scaled, 0-based.
        stream: Address of random numbers, for scales that decide by chance.
        n_elements: Number of elements of the rule's parameters, per replica.
        unit_norm: Approximate norm of the rule's noise at scale one.
        is_gradient_noise: Whether the rule acts on gradients.
        gradient_norm: (R,) norm over all the rule's parameters, without the loss scale.
        tensor_norms: (R, T) norm of each tensor's gradient.
        is_matrix: (T,) bool: tensors of two or more dimensions.
        sampled: Arrays (R, K) of sampled elements: ``gradient``, ``weight``; and ``mean``,
            ``square`` where the optimizer keeps Adam's moments.
        betas: Decay rates of those moments.
        moment_steps: Number of their updates.
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


def with_gradients(
    signals: Signals,
    gradients: Sequence[Tensor],
    *,
    weights: Sequence[Tensor],
    states: Sequence[MomentState],
    betas: tuple[float, float],
    samples: bool,
    grad_scale: float,
) -> Signals:
    """Add to the signals of a step what its gradients say.

    Args:
        signals: Signals of the step alone.
        gradients: The T gradients there are, at least one.
        weights: Their parameters.
        states: The optimizer's state of each parameter.
        betas: Decay rates of Adam's moments.
        samples: Whether to sample elements too.
        grad_scale: Factor by which a gradient scaler has multiplied the gradients.
    """
    batched, replicas = signals.stream.batched, len(signals.stream.keys)
    norms = tensor_norms(gradients, is_batched=batched).cpu().numpy() / grad_scale
    norms = norms.reshape(replicas, len(gradients))
    least = 3 if batched else 2
    sampled: dict[str, Array] = {}
    if samples:
        sampled["gradient"] = _sample(gradients, replicas) / grad_scale
        sampled["weight"] = _sample(weights, replicas)
        sampled |= _moments(states, replicas)
    return replace(
        signals,
        gradient_norm=np.sqrt((norms**2).sum(axis=1)),
        tensor_norms=norms,
        is_matrix=np.array([weight.ndim >= least for weight in weights]),
        sampled=sampled,
        betas=betas,
        moment_steps=float(states[0].get("step", 0)),
    )


def _sample(tensors: Sequence[Tensor], replicas: int) -> Array:
    """Elements at even distances of each tensor, (R, K) float64."""
    flat = [tensor.detach().reshape(replicas, -1) for tensor in tensors]
    rows = [row[:, :: max(1, -(-row.shape[1] // _SAMPLES))].double() for row in flat]
    return torch.cat(rows, dim=1).cpu().numpy()


def _moments(states: Sequence[MomentState], replicas: int) -> dict[str, Array]:
    """Adam's moments at the same elements, (R, K); empty where the optimizer keeps others."""
    if not all("exp_avg" in s and "exp_avg_sq" in s for s in states):
        return {}
    if any(s["exp_avg_sq"].shape != s["exp_avg"].shape for s in states):
        return {}
    return {
        "mean": _sample([s["exp_avg"] for s in states], replicas),
        "square": _sample([s["exp_avg_sq"] for s in states], replicas),
    }
