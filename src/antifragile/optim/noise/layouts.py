"""Layouts of tensors in memory, by which kernels and sums choose their way through them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def in_memory_order(tensor: Tensor, first: int = 0) -> Tensor:
    """Permute the dimensions so that strides descend; those before ``first`` stay where they are.

    Returns:
        A view.
    """
    order = sorted(range(first, tensor.ndim), key=tensor.stride, reverse=True)
    return tensor.permute(*range(first), *order)


def is_dense(tensor: Tensor) -> bool:
    """Whether the elements lie side by side, in whatever order."""
    return tensor.is_contiguous() or in_memory_order(tensor).is_contiguous()


def layout_of(tensor: Tensor) -> tuple[int, int] | None:
    """Describe how a tensor lies in memory.

    Returns:
        (0, 1) for contiguous tensors; the channels, and the elements of each in a filter, for those
        in a channels-last format; None for others.
    """
    if tensor.is_contiguous():
        return 0, 1
    last = _CHANNELS_LAST.get(tensor.ndim)
    if last is None or not tensor.is_contiguous(memory_format=last):
        return None
    return tensor.shape[1], math.prod(tensor.shape[2:])
