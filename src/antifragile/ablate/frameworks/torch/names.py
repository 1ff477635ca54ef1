"""The names of a torch model's parameters and modules, hidden ones included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any

from torch import nn

from antifragile.ablate.frameworks.torch.reach import reachable_tensors


def all_parameters(model: nn.Module, folder: str) -> dict[str, nn.Parameter]:
    """Return every parameter under its first name, those that are not registered included."""
    reached = reachable_tensors(model, folder=folder)
    found: dict[int, tuple[str, nn.Parameter]] = {}
    for name, tensor in [*model.named_parameters(), *reached.items()]:
        if isinstance(tensor, nn.Parameter):
            found.setdefault(id(tensor), (name, tensor))
    return dict(found.values())


def module_names(model: nn.Module) -> dict[int, list[str]]:
    """Return all names of every module below a model, those in Python lists included."""
    names: dict[int, list[str]] = {}
    queue: list[tuple[str, nn.Module]] = [("", model)]
    while queue:
        prefix, module = queue.pop(0)
        known = names.setdefault(id(module), [])
        if prefix in known or len(known) > 8:
            continue
        known.append(prefix)
        queue += [
            (path_of(prefix, module, name), child)
            for name, child in [*module._modules.items(), *hidden_children(module)]
            if child is not None
        ]
    return names


def path_of(prefix: str, module: nn.Module, name: str) -> str:
    """Return the name of a child; in a dictionary as Python writes it, "acts['0']"."""
    if isinstance(module, nn.ModuleDict):
        return f"{prefix}[{name!r}]"
    return f"{prefix}.{name}".lstrip(".")


def hidden_children(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield modules in plain lists, tuples, dictionaries and records of a module's attributes."""
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        if is_dataclass(value) or isinstance(value, SimpleNamespace):
            fields = getattr(value, "__dict__", {}).items()
            inside = [(key, item) for key, item in fields if isinstance(item, nn.Module)]
            yield from ((f"{name}.{key}", item) for key, item in inside)
        if not isinstance(value, list | tuple | dict):
            continue
        items: Iterable[tuple[Any, Any]] = (
            value.items() if isinstance(value, dict) else enumerate(value)
        )
        for key, item in items:
            if isinstance(item, nn.Module):
                yield f"{name}[{key!r}]", item
