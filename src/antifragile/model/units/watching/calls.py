"""Calls in which a model mixes channels by a parameter, as torch's operators show them.

Every linear layer, convolution, attention projection, recurrent layer or ``x @ w`` ends in one of
a handful of operators once PyTorch has taken it apart: ``addmm``, ``mm``, ``bmm``, ``convolution``,
``embedding``. `read_mixing` finds the weight among an operator's arguments, with the dimensions
that hold its input and output channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

IsWeight = Callable[[Tensor], bool]


@dataclass(frozen=True, kw_only=True)
class MixingCall:
    """One operator call that mixes channels by a weight.

    Args:
        weight: The weight operand.
        bias: The bias operand, or None.
        data: The activations that are read, or None (an embedding reads indices).
        groups: Number of groups, G.
        strides: Size and stride of the weight as (G, O, I, *K).
        read: Dimensions of ``data`` that hold the input channels.
        written: Dimensions of the result that hold the output channels.
        is_convolution: Whether it slides over positions.
    """

    weight: Tensor
    bias: Tensor | None
    data: Tensor | None
    groups: int
    strides: tuple[tuple[int, ...], tuple[int, ...]]
    read: tuple[int, ...]
    written: tuple[int, ...]
    is_convolution: bool = False


def by_channel(data: Tensor, dimensions: Sequence[int]) -> Tensor:
    """Arrange what a call reads or writes as (places, channels).

    Args:
        data: The activations.
        dimensions: Those that hold the channels, as in a `MixingCall`.
    """
    kept = [dimension % data.dim() for dimension in dimensions]
    others = [dimension for dimension in range(data.dim()) if dimension not in kept]
    n_channels = math.prod(data.shape[dimension] for dimension in kept)
    return data.permute(*others, *kept).reshape(-1, n_channels)


def read_mixing(name: str, args: Sequence[Any], is_weight: IsWeight) -> MixingCall | None:
    """Read an operator call as a mixing of channels by a weight; None if it is something else.

    Args:
        name: The operator, for example ``aten::addmm``.
        args: Its positional arguments.
        is_weight: Whether an operand is made of parameters alone.
    """
    match name:
        case "aten::mm" | "aten::bmm":
            return _product(args[0], args[1], None, is_weight)
        case "aten::addmm" | "aten::baddbmm":
            return _product(args[1], args[2], args[0], is_weight)
        case "aten::mv":
            return _vector(args[0], args[1], None, is_weight)
        case "aten::addmv":
            return _vector(args[1], args[2], args[0], is_weight)
        case "aten::linear":
            return _linear(*args, is_weight=is_weight)
        case "aten::convolution" | "aten::_convolution":
            return _convolution(args, is_weight)
        case "aten::embedding" | "aten::_embedding_bag" | "aten::_embedding_bag_forward_only":
            return _embedding(args[0], is_weight)
    return None


def _product(
    left: Tensor, right: Tensor, bias: Tensor | None, is_weight: IsWeight
) -> MixingCall | None:
    """``data @ weight`` or ``weight @ data``, perhaps a batch of them."""
    if is_weight(left) == is_weight(right):
        return None
    weight, data = (right, left) if is_weight(right) else (left, right)
    reads_last = weight is right
    size, stride = list(weight.shape), list(weight.stride())
    is_batch = weight.dim() == 3 and weight.shape[0] > 1 and weight.stride(0) != 0
    if weight.dim() == 3 and not is_batch:
        size[0] = 1
    elif weight.dim() == 2:
        size, stride = [1, *size], [0, *stride]
    if reads_last:  # the weight is (.., I, O)
        size[1], size[2] = size[2], size[1]
        stride[1], stride[2] = stride[2], stride[1]
    channels = -1 if reads_last else -2
    kept = (0, channels) if is_batch else (channels,)
    return MixingCall(
        weight=weight,
        bias=bias,
        data=data,
        groups=size[0],
        strides=(tuple(size), tuple(stride)),
        read=kept,
        written=kept,
    )


def _vector(
    matrix: Tensor, vector: Tensor, bias: Tensor | None, is_weight: IsWeight
) -> MixingCall | None:
    if not is_weight(matrix) or is_weight(vector):
        return None
    size, stride = (1, *matrix.shape), (0, *matrix.stride())
    return MixingCall(
        weight=matrix,
        bias=bias,
        data=vector,
        groups=1,
        strides=(size, stride),
        read=(0,),
        written=(0,),
    )


def _linear(
    data: Tensor, weight: Tensor, bias: Tensor | None = None, *, is_weight: IsWeight
) -> MixingCall | None:
    if not is_weight(weight) or is_weight(data):
        return None
    size, stride = (1, *weight.shape), (0, *weight.stride())
    return MixingCall(
        weight=weight,
        bias=bias,
        data=data,
        groups=1,
        strides=(size, stride),
        read=(-1,),
        written=(-1,),
    )


def _convolution(args: Sequence[Any], is_weight: IsWeight) -> MixingCall | None:
    """A convolution; one filter per channel (depthwise) does not mix, and gives None."""
    data, weight, bias = args[0], args[1], args[2]
    transposed, groups = bool(args[6]), int(args[8])
    if not is_weight(weight) or is_weight(data):
        return None
    (first, second, *kernel), (outer, inner, *steps) = weight.shape, weight.stride()
    per_group = first // groups
    if transposed:  # the weight is (G * I, O, *K)
        n_outputs, n_inputs, out_step, in_step = second, per_group, inner, outer
    else:  # the weight is (G * O, I, *K)
        n_outputs, n_inputs, out_step, in_step = per_group, second, outer, inner
    if groups > 1 and n_inputs == 1:
        return None
    return MixingCall(
        weight=weight,
        bias=bias,
        data=data,
        groups=groups,
        strides=(
            (groups, n_outputs, n_inputs, *kernel),
            (per_group * outer, out_step, in_step, *steps),
        ),
        read=(1,),
        written=(1,),
        is_convolution=True,
    )


def _embedding(weight: Tensor, is_weight: IsWeight) -> MixingCall | None:
    if not is_weight(weight):
        return None
    (n_rows, n_channels), (row, step) = weight.shape, weight.stride()
    return MixingCall(
        weight=weight,
        bias=None,
        data=None,
        groups=1,
        strides=((1, n_channels, n_rows), (0, step, row)),
        read=(),
        written=(-1,),
    )
