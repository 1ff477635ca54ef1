"""Questions about single values of a running model: is it plain data, which tensors are in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

FUNCTION_NAMES = {
    id(function): name
    for space in (torch, torch.nn.functional)
    for name, function in vars(space).items()
    if callable(function)
}


def is_library_function(function: Any) -> bool:
    """Whether a function comes from torch or another installed array library."""
    module = str(getattr(function, "__module__", "") or "")
    return module.split(".")[0] in {"torch", "einops"} or "torch" in type(function).__module__


def is_bounded(tensor: Tensor) -> bool:
    """Whether every value lies in [-1, 1]."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return False
    with torch.no_grad():
        return bool(tensor.abs().max() <= 1)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists, dictionaries and data classes."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        for item in vars(value).values():
            yield from tensors_in(item)
