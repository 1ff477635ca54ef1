"""Looking: what a scale is told about the gradients, the weights and Adam's moments of a step.

Shape letters: R replicas (1 where there are none), T tensors with a gradient, K sampled elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from antifragile.optim.attach.selection import Slot
from antifragile.optim.noise.norms import tensor_norms
from antifragile.optim.scale.schedules import Array, Signals

_SAMPLES = 1024  # elements of a tensor that controllers look at


def with_gradients(
    signals: Signals,
    slots: Sequence[Slot],
    gradients: Sequence[Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    needs: frozenset[str],
    grad_scale: float,
) -> Signals:
    """The signals of a step, with what its gradients say.

    Args:
        signals: Of the step alone.
        slots: The parameters with a gradient, at least one.
        gradients: Theirs.
        optimizer: Whose moments are read.
        needs: What the scale looks at.
        grad_scale: What the gradients are multiplied by.
    """
    batched, replicas = signals.stream.batched, len(signals.stream.keys)
    norms = tensor_norms(gradients, is_batched=batched).cpu().numpy() / grad_scale
    norms = norms.reshape(replicas, len(slots))
    least = 3 if batched else 2
    sampled: dict[str, Array] = {}
    if "samples" in needs:
        sampled["gradient"] = _sample(gradients, replicas) / grad_scale
        sampled["weight"] = _sample([slot.parameter for slot in slots], replicas)
        sampled |= _moments(slots, optimizer, replicas)
    return replace(
        signals,
        gradient_norm=np.sqrt((norms**2).sum(axis=1)),
        tensor_norms=norms,
        is_matrix=np.array([slot.parameter.ndim >= least for slot in slots]),
        sampled=sampled,
        betas=tuple(slots[0].group.get("betas", (0.9, 0.999))),
        moment_steps=float(optimizer.state.get(slots[0].parameter, {}).get("step", 0)),
    )


def _sample(tensors: Sequence[Tensor], replicas: int) -> Array:
    """Elements at even distances of each tensor, (R, K) float64."""
    rows = []
    for tensor in tensors:
        flat = tensor.detach().reshape(replicas, -1)
        rows.append(flat[:, :: max(1, -(-flat.shape[1] // _SAMPLES))].double())
    return torch.cat(rows, dim=1).cpu().numpy()


def _moments(
    slots: Sequence[Slot], optimizer: torch.optim.Optimizer, replicas: int
) -> dict[str, Array]:
    """Adam's moments at the same elements, (R, K); none where the optimizer keeps others."""
    states = [optimizer.state.get(slot.parameter, {}) for slot in slots]
    if not all("exp_avg" in s and "exp_avg_sq" in s for s in states):
        return {}
    if any(s["exp_avg_sq"].shape != s["exp_avg"].shape for s in states):
        return {}
    return {
        "mean": _sample([s["exp_avg"] for s in states], replicas),
        "square": _sample([s["exp_avg_sq"] for s in states], replicas),
    }
