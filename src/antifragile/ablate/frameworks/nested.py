"""Tensors in nested outputs: tuples, lists, mappings, data classes, plain objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

_NUMBERS = (bool, int, float, complex)


def flatten(path: str, value: Any, is_tensor: Callable[[Any], bool]) -> list[tuple[str, Any]]:
    """List tensors, arrays and numbers by path; other things are left out.

    Args:
        path: Where the value is, "" for the whole.
        value: What a model or a user's function returned.
        is_tensor: Whether something is a tensor of the framework.
    """
    if is_tensor(value) or isinstance(value, _NUMBERS):
        return [(path, value)]
    if isinstance(value, np.ndarray):
        return [(path, value)] if value.dtype.kind in "biufc" else []
    found: list[tuple[str, Any]] = []
    for key, item in _items(value):
        found += flatten(f"{path}[{key}]", item, is_tensor)
    return found


def _items(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [(str(index), item) for index, item in enumerate(value)]
    if is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, type) or callable(value):
        return []
    return sorted(getattr(value, "__dict__", {}).items())


def names_of_each(named: Iterable[tuple[str, Any]]) -> dict[str, list[str]]:
    """Group the paths that lead to the same object: all of them, by the first."""
    paths: dict[int, list[str]] = {}
    for path, value in named:
        paths.setdefault(id(value), []).append(path)
    return {names[0]: names for names in paths.values()}


def directions(number: int, size: int) -> np.ndarray[Any, Any]:
    """Fixed random numbers of length about one, drawn apart from every stream of a model."""
    generator = np.random.Generator(np.random.Philox(number + 1))
    return np.asarray(generator.standard_normal(size) / max(size, 1) ** 0.5)
