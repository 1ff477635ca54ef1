"""The metrics that an experiment returns: numbers by name, or a sentence about what came."""

from __future__ import annotations

import numbers
import re
from typing import Any

from antifragile.ablate.sandbox.loading import Refusal

_LONGEST_NAME = 200  # characters of a metric
_NUMERIC = re.compile("int|float")  # in the name of an array's type


def checked_metrics(value: Any) -> dict[str, float]:
    """Numbers by name, or a sentence about what came instead."""
    if not isinstance(value, dict) or not value:
        raise Refusal(
            f"the experiment must return numbers by name; got {type(value).__name__} {value!r:.60}"
        )
    metrics = {}
    for name, number in value.items():
        if not isinstance(name, str):
            raise Refusal(f"the name of a metric must be a text; got {name!r:.60}")
        if len(name) > _LONGEST_NAME:
            raise Refusal(
                f"the name of a metric has {len(name)} characters; use at most {_LONGEST_NAME}"
            )
        metrics[str(name)] = _number(name, number)
    return metrics


def _number(name: str, value: Any) -> float:
    """A number of Python, NumPy or a framework, as an array of one element too; no bool, no text.

    It may be infinite or NaN, as those of a training that diverged are.

    Raises:
        Refusal: It is something else.
    """
    kind = getattr(value, "dtype", None)
    is_number = isinstance(value, numbers.Number) if kind is None else _NUMERIC.search(str(kind))
    try:
        if isinstance(value, bool) or not is_number:
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        what = f"{type(value).__name__} {value!r:.60}"
        raise Refusal(f"metric {name!r} must be a number; got {what}") from None
