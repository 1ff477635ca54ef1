"""The tensors among the arguments of a forward, with the names by which a rule may mean them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

Names = tuple[str, ...]
"""Name of an argument, then the keys of the mappings in it that lead to a tensor."""

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional arguments, and keyword arguments."""

Change = Callable[[Names, Tensor], Tensor]


def map_tensors(change: Change, arguments: Arguments, model: nn.Module | None) -> Arguments:
    """Replace the tensors of a forward's arguments, the positional ones first.

    Args:
        change: Returns what replaces a tensor with these names; maybe the tensor itself.
        arguments: Arguments of the call; lists, tuples, mappings and whatever torch knows as a
            container are looked into, and not written.
        model: The module that is called, whose ``forward`` names the positional arguments; None
            leaves them without names.
    """
    args, kwargs = arguments
    names = [()] * len(args) if model is None else _positional_names(model, len(args))
    return (
        tuple(_mapped(change, name, value) for name, value in zip(names, args, strict=True)),
        {key: _mapped(change, (key,), value) for key, value in kwargs.items()},
    )


def _mapped(change: Change, names: Names, value: Any) -> Any:
    if isinstance(value, Tensor):
        return change(names, value)
    if isinstance(value, Mapping):  # torch does not know a tokenizer's
        parts = {key: _mapped(change, (*names, str(key)), part) for key, part in value.items()}
        changed = {key: part for key, part in parts.items() if part is not value[key]}
        if not changed:
            return value
        copied: Any = copy.copy(value)
        for key, part in changed.items():
            copied[key] = part
        return copied
    inside, spec = tree_flatten(value, is_leaf=lambda part: part is not value)
    if spec.is_leaf():
        return value
    return tree_unflatten([_mapped(change, names, part) for part in inside], spec)


def _positional_names(model: nn.Module, n_arguments: int) -> list[Names]:
    """Names of the first positional arguments; one that has none gets an empty tuple."""
    try:
        parameters = list(inspect.signature(_inner(model).forward).parameters.values())
    except (TypeError, ValueError):
        return [()] * n_arguments
    names: list[Names] = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [(parameter.name,)] * (n_arguments - len(names))
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append((parameter.name,))
    return [*names, *[()] * n_arguments][:n_arguments]


def _inner(model: nn.Module) -> nn.Module:
    """Return the module inside wrappers, whose own forwards name no argument."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner
