"""One walk over nested objects, and the tensors in what a model or a user's function returns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, ValuesView
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
        is_number = isinstance(item, (np.ndarray, np.generic)) and item.dtype.kind in "biufc"
        return is_number or isinstance(item, NUMBERS) or is_tensor(item)

    def ends(item: Any) -> bool:
        return is_data(item) or isinstance(item, np.ndarray)

    return [(path, item) for path, item in _whole(value, ends) if is_data(item)]


def containers(value: Any, is_tensor: Callable[[Any], bool]) -> list[tuple[str, str]]:
    """List the objects that hold the data of a nested output, by path and type.

    Tuples, lists and dictionaries are left out: the paths inside them tell which is which.
    """
    inside = [path for path, _ in flatten(value, is_tensor)]
    return [
        (path, type(item).__name__)
        for path, item in _whole(value, is_tensor)
        if type(item) not in (tuple, list, dict)
        and any(leaf.startswith(f"{path}[") for leaf in inside)
    ]


def _whole(value: Any, ends: Callable[[Any], bool]) -> Iterator[Named]:
    """Walk through containers and plain objects, down to where `ends` says so."""

    def children_of(path: str, item: Any) -> list[Named]:
        if ends(item):
            return []
        inside = _items(item)
        return [(f"{path}[{key}]", child) for key, child in inside or _attributes(item)]

    return walk("", value, children_of)


def tensors_in(
    value: Any, is_tensor: Callable[[Any], bool], *, in_objects: bool = False
) -> list[Any]:
    """List the tensors in nested tuples, lists, dictionaries and data classes.

    Args:
        value: The inputs or the return value of a model or a user's function.
        is_tensor: Whether something is what is looked for.
        in_objects: Look into the attributes of plain objects too.
    """

    def children_of(path: str, item: Any) -> Iterable[Named]:
        return () if is_tensor(item) else _items(item)

    found = _whole(value, is_tensor) if in_objects else walk("", value, children_of)
    return [item for _, item in found if is_tensor(item)]


def _items(value: Any) -> list[Named]:
    """The items of a container by key, place or field name."""
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, list | tuple | deque | ValuesView):
        return [(str(index), item) for index, item in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if hasattr(value, field.name)]
        return [(name, getattr(value, name)) for name in names]
    return []


def _attributes(value: Any) -> list[Named]:
    """The attributes of a plain object, those in slots included."""
    if isinstance(value, Mapping | list | tuple | type) or callable(value) or is_dataclass(value):
        return []
    slots = [name for kind in type(value).__mro__ for name in _slots(kind)]
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return sorted((found | getattr(value, "__dict__", {})).items())


def _slots(kind: type) -> list[str]:
    """The public slots that a class itself names."""
    slots = vars(kind).get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    return [name for name in names if not name.startswith("_")]


def names_of_each(named: Iterable[Named]) -> dict[str, list[str]]:
    """Group the paths that lead to the same object: all of them, by the first."""
    paths: dict[int, list[str]] = {}
    for path, value in named:
        paths.setdefault(id(value), []).append(path)
    return {names[0]: names for names in paths.values()}
