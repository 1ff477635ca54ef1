"""One walk over nested objects, and the tensors in what a model or a user's function returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

NUMBERS = (bool, int, float, complex)

Named = tuple[str, Any]  # the path that leads to an object, and the object


def walk(
    path: str, value: Any, children_of: Callable[[str, Any], Iterable[Named]]
) -> Iterator[Named]:
    """Yield a value and everything below it, parents first; no object comes below itself.

    Args:
        path: The value's path, "" for the whole.
        value: The object that the walk begins with.
        children_of: The paths and objects right below an object at a path.
    """
    waiting: list[tuple[str, Any, frozenset[int]]] = [(path, value, frozenset())]
    while waiting:
        path, value, above = waiting.pop()  # `above`: the ids of the objects that lead here
        if id(value) in above:
            continue
        yield path, value
        children = list(children_of(path, value))
        if children:
            inside = above | {id(value)}
            waiting += [(name, child, inside) for name, child in reversed(children)]


def flatten(value: Any, is_tensor: Callable[[Any], bool]) -> list[Named]:
    """List tensors, arrays and numbers of a nested output by path; other things are left out.

    Args:
        value: The return value of a model or of a user's function.
        is_tensor: Whether something is a tensor of the framework.
    """

    def is_data(item: Any) -> bool:
        return is_tensor(item) or isinstance(item, NUMBERS)

    def children_of(path: str, item: Any) -> list[Named]:
        if is_data(item) or isinstance(item, np.ndarray):
            return []
        inside = _items(item)
        return [(f"{path}[{key}]", child) for key, child in inside or _attributes(item)]

    return [
        (path, item)
        for path, item in walk("", value, children_of)
        if is_data(item) or (isinstance(item, np.ndarray) and item.dtype.kind in "biufc")
    ]


def tensors_in(value: Any, is_tensor: Callable[[Any], bool]) -> list[Any]:
    """List the tensors in nested tuples, lists, dictionaries and data classes."""

    def children_of(path: str, item: Any) -> Iterable[Named]:
        return () if is_tensor(item) else _items(item)

    return [item for _, item in walk("", value, children_of) if is_tensor(item)]


def _items(value: Any) -> list[Named]:
    """The items of a container by key, place or field name."""
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [(str(index), item) for index, item in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if hasattr(value, field.name)]
        return [(name, getattr(value, name)) for name in names]
    return []


def _attributes(value: Any) -> list[Named]:
    """The attributes of a plain object."""
    if isinstance(value, Mapping | list | tuple | type) or callable(value) or is_dataclass(value):
        return []
    return sorted(getattr(value, "__dict__", {}).items())


def names_of_each(named: Iterable[Named]) -> dict[str, list[str]]:
    """Group the paths that lead to the same object: all of them, by the first."""
    paths: dict[int, list[str]] = {}
    for path, value in named:
        paths.setdefault(id(value), []).append(path)
    return {names[0]: names for names in paths.values()}
