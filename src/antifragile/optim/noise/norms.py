"""Norms of tensors, one number per replica, in which noise and scales are measured.

Shape letters: R replicas, T tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from antifragile.optim.noise.layouts import in_memory_order

_LONG = 1 << 20  # elements from which a norm is added up by pieces
_PIECE = 1 << 12


def spread(size: float | Tensor, over: Tensor) -> float | Tensor:
    """Shape (R,) numbers so that they multiply a tensor whose first dimension is R."""
    if not isinstance(size, Tensor) or size.ndim == 0:
        return size
    return size.to(over).reshape(-1, *[1] * (over.ndim - 1))


def joint_norm(tensors: Sequence[Tensor], *, is_batched: bool) -> Tensor:
    """Euclidean norm over all tensors together: (), or (R,) where they are batched; float64."""
    return tensor_norms(tensors, is_batched=is_batched).square().sum(dim=-1).sqrt()


def tensor_norms(tensors: Sequence[Tensor], *, is_batched: bool) -> Tensor:
    """Euclidean norm of every tensor: (T,), or (R, T) where they are batched; float64.

    A sum of very many squares in float32 is short, by 0.04 % for 10 million elements; long tensors
    are added up by pieces, and the pieces in float64. No norm is rounded to half precision.
    """
    if is_batched:
        norms = [_row_norms(_rows(t)) for t in tensors]
    elif any(t.numel() > _LONG or t.element_size() < 4 for t in tensors):
        norms = [_row_norms(_rows(t[None]))[0] for t in tensors]
    else:
        norms = list(torch._foreach_norm(list(tensors)))
        if all(norm.dtype is norms[0].dtype for norm in norms):
            return torch.stack(norms).double()
    return torch.stack([norm.double() for norm in norms], dim=-1)


def _rows(batch: Tensor) -> Tensor:
    """Shape each replica as a row, its elements in the order of the memory: nothing is copied."""
    return in_memory_order(batch, first=1).reshape(len(batch), -1)


def _row_norms(rows: Tensor) -> Tensor:
    """Norm of each row, (R,)."""
    dtype = torch.promote_types(rows.dtype, torch.float32)
    if rows.shape[1] <= _LONG:
        norms: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=dtype)
        return norms
    whole = rows.shape[1] // _PIECE * _PIECE
    table = rows[:, :whole].reshape(len(rows), -1, _PIECE)
    pieces = torch.linalg.vector_norm(table, dim=2, dtype=dtype)
    rest = torch.linalg.vector_norm(rows[:, whole:], dim=1, keepdim=True, dtype=dtype)
    return torch.cat([pieces, rest], dim=1).double().square().sum(dim=1).sqrt()


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
