"""Norms of tensors, one number per replica, in which noise and scales are measured.

Shape letters: R replicas, T tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def spread(size: float | Tensor, over: Tensor) -> float | Tensor:
    """Shape (R,) numbers so that they multiply a tensor whose first dimension is R."""
    if not isinstance(size, Tensor) or size.ndim == 0:
        return size
    return size.to(over).reshape(-1, *[1] * (over.ndim - 1))


def joint_norm(tensors: Sequence[Tensor], *, is_batched: bool) -> Tensor:
    """Euclidean norm over all tensors together: (), or (R,) where they are batched; float64."""
    return tensor_norms(tensors, is_batched=is_batched).square().sum(dim=-1).sqrt()


def tensor_norms(tensors: Sequence[Tensor], *, is_batched: bool) -> Tensor:
    """Euclidean norm of every tensor: (T,), or (R, T) where they are batched; float64."""
    if is_batched:
        norms = [torch.linalg.vector_norm(t.flatten(1), dim=1) for t in tensors]
    else:
        norms = list(torch._foreach_norm(list(tensors)))
    return torch.stack([norm.double() for norm in norms], dim=-1)


def filter_norms(weights: Tensor, *, is_batched: bool) -> Tensor:
    """Norm of each filter, shaped to multiply the weights; a vector counts as one filter."""
    first = 2 if is_batched else 1
    dims = tuple(range(first, weights.ndim)) or (weights.ndim - 1,)
    if weights.ndim < first:
        return weights.abs()
    norms: Tensor = torch.linalg.vector_norm(weights, dim=dims, keepdim=True)
    return norms


def initial_deviation(weights: Tensor, *, is_batched: bool) -> float:
    """Standard deviation of PyTorch's default initialisation: 1/sqrt(3 fan-in), 0 for vectors."""
    shape = weights.shape[1:] if is_batched else weights.shape
    return 1.0 / math.sqrt(3 * math.prod(shape[1:])) if len(shape) >= 2 else 0.0
