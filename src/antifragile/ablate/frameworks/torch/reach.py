"""All tensors that a model holds, by the path that leads to them.

`named_parameters` misses blocks in Python lists, tensors in plain attributes, layers captured by a
lambda and layers at the top of a file. Certification copies the baseline's values into a variant,
and tensors out of its reach would differ by initialisation alone; so the walk follows attributes,
containers, closures and the globals of the user's own files. Parameters and buffers of registered
modules keep their usual names.
"""

from __future__ import annotations

import functools
import os
import sys
from collections import Counter
from collections.abc import Collection
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

import torch

from antifragile.ablate.trace.nested import Named, walk

_VISITS = 4  # a shared container is visited at most four times, once per path
_MOST = 200_000  # objects looked into; a model that holds a data set in a list ends here
_PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes))
_MODULE_TABLES = ("_parameters", "_buffers", "_modules")


def reachable_tensors(model: Any, *, folder: str) -> dict[str, torch.Tensor]:
    """Tensors by path; one that is reached twice (tied weights) appears under every path.

    Args:
        model: The model.
        folder: The folder of the user's files; globals and classes of these are followed.

    Returns:
        Registered names as in ``named_parameters`` and ``named_buffers``; others as
        ``blocks[0].weight``, ``shortcut<closure conv>.weight``, ``model.py:scale``.
    """
    own = _own_modules(folder)
    starts = [("", model)]
    for name, module in own.items():
        starts += [
            (f"{name}:{key}", value)
            for key, value in vars(module).items()
            if not key.startswith("__")
        ]
    look_into = _Visitor(own)
    return {
        path: found
        for start, value in starts
        for path, found in walk(start, value, look_into)
        if isinstance(found, torch.Tensor) and not found.is_meta  # meta: shapes without values
    }


def is_lazy(tensor: torch.Tensor) -> bool:
    """Whether a parameter or buffer gets its shape at the first call of its layer."""
    return isinstance(tensor, (torch.nn.UninitializedParameter, torch.nn.UninitializedBuffer))


class _Visitor:
    """Lists what lies right below an object, and counts the visits to each.

    Args:
        own: The user's modules by name.
    """

    def __init__(self, own: Collection[str]) -> None:
        self._own = own
        self._visits: Counter[int] = Counter()
        self._held: list[Any] = []  # keeps ids valid

    def __call__(self, path: str, value: Any) -> list[Named]:
        if type(value) in _PLAIN or isinstance(value, torch.Tensor):
            return []
        if self._visits[id(value)] >= _VISITS or len(self._held) > _MOST:
            return []
        children = self._children(path, value)
        children = [pair for pair in children if type(pair[1]) not in _PLAIN]
        if children:
            self._visits[id(value)] += 1
            self._held.append(value)
        return children

    def _children(self, path: str, value: Any) -> list[Named]:
        if isinstance(value, torch.nn.Module):
            return _of_module(path, value)
        if isinstance(value, dict):
            return [(f"{path}[{key}]", item) for key, item in list(value.items())]
        if isinstance(value, (list, tuple, set, frozenset)):
            return [(f"{path}[{index}]", item) for index, item in enumerate(value)]
        if isinstance(value, (FunctionType, MethodType, functools.partial)):
            return _of_function(path, value)
        if isinstance(value, type):
            is_own = value.__module__ in self._own
            return [(f"{path}.{key}", item) for key, item in vars(value).items()] if is_own else []
        if type(value).__module__ in self._own or isinstance(value, SimpleNamespace):
            return [(f"{path}.{key}", item) for key, item in getattr(value, "__dict__", {}).items()]
        return []


def _of_module(path: str, module: torch.nn.Module) -> list[Named]:
    dot = f"{path}." if path else ""
    found = [
        (dot + key, item)
        for table in _MODULE_TABLES
        for key, item in getattr(module, table).items()
    ]
    return found + [
        (dot + key, item)
        for key, item in vars(module).items()
        if type(item) not in _PLAIN and not key.startswith("_")
    ]


def _of_function(path: str, function: Any) -> list[Named]:
    if isinstance(function, MethodType):
        return [(f"{path}<self>", function.__self__)]
    if isinstance(function, functools.partial):
        return [
            (f"{path}<{name}>", getattr(function, name)) for name in ("func", "args", "keywords")
        ]
    names = function.__code__.co_freevars
    children = [(f"{path}<defaults>", function.__defaults__)]
    for name, cell in zip(names, function.__closure__ or (), strict=True):
        try:
            children.append((f"{path}<closure {name}>", cell.cell_contents))
        except ValueError:  # not filled yet
            continue
    return children


def _own_modules(folder: str) -> dict[str, Any]:
    """Modules whose file lies in the folder."""
    return {name: sys.modules[name] for name in _own_names(folder, len(sys.modules))}


@functools.lru_cache(maxsize=4)
def _own_names(folder: str, n_modules: int) -> tuple[str, ...]:
    """Names of the folder's modules; looked for again when the number of modules has changed."""
    root = os.path.realpath(folder) + os.sep
    places = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    return tuple(
        name
        for name, place in places.items()
        if place is not None and place.startswith(root) and "site-packages" not in place
    )
