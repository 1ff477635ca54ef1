"""Every tensor a model holds, by the path that leads to it, wherever its author put it.

`named_parameters` misses blocks in Python lists, tensors in plain attributes, layers captured by a
lambda and layers at the top of a file. Certification copies the baseline's values into a variant,
and what it cannot reach would differ by initialisation alone; so the walk follows attributes,
containers, closures and the globals of the user's own files. Parameters and buffers of registered
modules keep their usual names.
"""

from __future__ import annotations

import functools
import os
import sys
from collections import Counter
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

import torch

_VISITS = 4  # a container reached by several paths gets that many names
_MOST = 200_000  # objects looked at; a model that holds a data set in a list ends here
_PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes))
_MODULE_TABLES = ("_parameters", "_buffers", "_modules")


def reachable_tensors(model: Any, *, folder: str) -> dict[str, torch.Tensor]:
    """Tensors by path; one that is reached twice (tied weights) appears under every path.

    Args:
        model: The model.
        folder: Where the user's files lie; globals and classes of these are followed.

    Returns:
        Registered names as in ``named_parameters`` and ``named_buffers``; others as
        ``blocks[0].weight``, ``shortcut<closure conv>.weight``, ``model.py:scale``.
    """
    walk = _Walk(folder)
    walk.look_below("", model)
    for name, module in _own_modules(folder).items():
        for key, value in list(vars(module).items()):
            if not key.startswith("__"):
                walk.look_below(f"{name}:{key}", value)
    return walk.found


class _Walk:
    """One walk over an object graph."""

    def __init__(self, folder: str) -> None:
        self.found: dict[str, torch.Tensor] = {}
        self._own = set(_own_modules(folder))
        self._visits: Counter[int] = Counter()
        self._held: list[Any] = []  # keeps ids valid
        self._open: set[int] = set()

    def look_below(self, path: str, value: Any) -> None:
        """Note the tensors at or below a value."""
        if type(value) in _PLAIN:
            return
        if isinstance(value, torch.Tensor):
            if not value.is_meta:  # holds shapes, no values
                self.found[path] = value
            return
        if id(value) in self._open or self._visits[id(value)] >= _VISITS or len(self._held) > _MOST:
            return
        children = self._children(path, value)
        if not children:
            return
        self._visits[id(value)] += 1
        self._held.append(value)
        self._open.add(id(value))
        for name, child in children:
            if type(child) not in _PLAIN:
                self.look_below(name, child)
        self._open.discard(id(value))

    def _children(self, path: str, value: Any) -> list[tuple[str, Any]]:
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


def _of_module(path: str, module: torch.nn.Module) -> list[tuple[str, Any]]:
    dot = f"{path}." if path else ""
    children: list[tuple[str, Any]] = []
    for table in _MODULE_TABLES:
        children += [(dot + key, item) for key, item in vars(module)[table].items()]
    return children + [
        (dot + key, item) for key, item in vars(module).items() if not key.startswith("_")
    ]


def _of_function(path: str, function: Any) -> list[tuple[str, Any]]:
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
    """Their names; looked for again whenever the number of modules has changed."""
    root = os.path.realpath(folder) + os.sep
    places = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    return tuple(
        name
        for name, place in places.items()
        if place is not None and place.startswith(root) and "site-packages" not in place
    )
