"""An optimizer's state as JSON and tensors, whatever its nesting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def without_tensors(value: Any, tensors: dict[str, Tensor], path: str) -> Any:
    """Replace tensors in an optimizer's state by their names; pairs keep keys that are numbers."""
    if isinstance(value, Tensor):
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, dict):
        pairs = [[key, without_tensors(v, tensors, f"{path}/{key}")] for key, v in value.items()]
        return {"pairs": pairs}
    if isinstance(value, list | tuple):
        items = [without_tensors(v, tensors, f"{path}/{i}") for i, v in enumerate(value)]
        return {"items": items, "is_tuple": isinstance(value, tuple)}
    return {"value": value}


def with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Undo `without_tensors`."""
    if "tensor" in value:
        return tensors[value["tensor"]].clone()
    if "pairs" in value:
        return {key: with_tensors(v, tensors) for key, v in value["pairs"]}
    if "items" in value:
        items = [with_tensors(v, tensors) for v in value["items"]]
        return tuple(items) if value["is_tuple"] else items
    return value["value"]
