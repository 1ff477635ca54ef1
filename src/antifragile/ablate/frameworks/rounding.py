"""Runs in which everything is moved by its own rounding: what they change, rounding can change.

While `results_moved` is active, each floating result that an operation of torch computed goes up or
down by one unit in its last place, whatever its type: a cast to half precision, or what autocast
computes, moves by units of that type. Results that are merely copied stay as they are, and so do
whole numbers: positions, counts and masks are exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_COPIES = re.compile(  # operations that hand values on, choose among them, or make exact ones
    r"(new_)?(zeros|ones|full|empty|empty_strided|fill|zero)(_like)?_?|scalar_tensor|eye|arange"
    r"|_?to_copy|copy_?|clone|contiguous|_unsafe_view|lift_fresh_copy|cat|stack|repeat\w*|roll|flip"
    r"|(index|masked|slice|select|diagonal)_?(put|select|fill|copy|scatter)?_?(impl)?_?|gather|take"
    r"|scatter_?|embedding|where|constant_pad_nd|reflection_pad\w*|replication_pad\w*|tril|triu"
    r"|im2col|(leaky_|hard)?relu6?_?|threshold_?|clamp\w*|maximum|minimum|a?max|a?min|aminmax|abs"
    r"|neg|sign|sort|topk|median|max_pool\w*|floor|ceil|round|trunc|nan_to_num|rand\w*|bernoulli\w*"
)


@contextmanager
def results_moved(salt: int) -> Iterator[None]:
    """Move each result that torch computes inside.

    Args:
        salt: Another salt gives other directions.
    """
    with _Moving(salt):
        yield


class _Moving(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own lacks types
    """Moves the results of operations, forward and backward."""

    def __init__(self, salt: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own lacks types
        self._salt = salt
        self._generators: dict[torch.device, torch.Generator] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch would import its compiler, two seconds, to keep it away from this class."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [item for item in _flat([*args, *(kwargs or {}).values()]) if _is_rounded(item)]
        finest = max((_unit(item) for item in given), default=np.inf)
        is_copy = _COPIES.fullmatch(func._schema.name.removeprefix("aten::")) is not None
        has_place = [item.alias_info is not None for item in func._schema.returns]
        if any(has_place) and not func._schema.is_mutable:  # a view
            return result
        return self._all_moved(result, finest if is_copy else 0.0, in_place=any(has_place))

    def _all_moved(self, value: Any, least: float, *, in_place: bool) -> Any:
        """The tensors of a result moved, those whose type is no coarser than `least` left out."""
        if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
            return type(value)(self._all_moved(item, least, in_place=in_place) for item in value)
        if not _is_rounded(value) or _unit(value) <= least:
            return value
        new = self._moved(value)
        return value.copy_(new) if in_place else new

    def _moved(self, value: Tensor) -> Tensor:
        generator = self._generators.get(value.device)
        if generator is None:
            generator = torch.Generator(value.device).manual_seed(self._salt)
            self._generators[value.device] = generator
        places = torch.empty(value.shape, dtype=torch.int8, device=value.device)
        directions = places.random_(0, 2, generator=generator).mul_(2).sub_(1)
        unit = _unit(value)
        new = value + value * (directions.to(_real(value.dtype)) * (unit / 2))
        stays = ~torch.isfinite(new)  # minus infinity masks; it has no next value
        if not value.is_complex():
            stays |= (value == value.round()) & (value.abs() * unit < 1)
        return torch.where(stays, value, new)


def _is_rounded(value: object) -> bool:
    """Whether something is a dense tensor of real or complex numbers."""
    return (
        type(value) in (Tensor, torch.nn.Parameter)
        and isinstance(value, Tensor)
        and (value.is_floating_point() or value.is_complex())
        and value.dtype in _UNITS
        and value.layout is torch.strided
        and not (value.is_meta or value.is_nested or value.numel() == 0)
    )


def _unit(value: Tensor) -> float:
    return _UNITS[value.dtype]


def _real(dtype: torch.dtype) -> torch.dtype:
    return dtype.to_real() if dtype.is_complex else dtype


def _flat(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


_UNITS = {
    dtype: float(torch.finfo(dtype).eps)
    for dtype in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.complex64, torch.complex128),
    )
}
