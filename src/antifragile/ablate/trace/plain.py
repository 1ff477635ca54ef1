"""Plain data: settings and arguments of a model that may leave the process that ran it."""

from __future__ import annotations

import math
from collections.abc import Mapping


def is_plain(value: object) -> bool:
    """Whether a value is a number, a text, or a short tuple of them; NaN is no number."""
    if isinstance(value, tuple | list):
        return len(value) <= 8 and all(map(is_plain, value))
    if isinstance(value, float) and math.isnan(value):
        return False
    return isinstance(value, bool | int | float | str) or value is None


def plain(value: object) -> object:
    """Return a plain value as built-in types: a torch.Size becomes a tuple, an enum its value."""
    if isinstance(value, tuple | list):
        return tuple(map(plain, value))
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return None


def named(args: tuple[object, ...], kwargs: Mapping[str, object]) -> list[tuple[str, object]]:
    """Arguments of a call by position ("0", "1") or name."""
    return [*((str(place), value) for place, value in enumerate(args)), *kwargs.items()]


def plain_arguments(args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
    """Arguments of a call that are plain data, by position or name."""
    return {name: plain(value) for name, value in named(args, kwargs) if is_plain(value)}
