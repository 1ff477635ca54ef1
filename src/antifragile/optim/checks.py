"""The check of a number that a user gave."""

from __future__ import annotations

import math

from antifragile.errors import UsageError


def check_number(
    value: object,
    name: str,
    *,
    at_least: float = 0.0,
    at_most: float = math.inf,
    above: bool = False,
) -> float:
    """Return a finite number within bounds as a float.

    Args:
        value: The value to check.
        name: Its name in the message.
        at_least: Lower bound.
        at_most: Upper bound.
        above: True excludes the lower bound itself.

    Raises:
        UsageError: It is no such number; the message says which was expected.
    """
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and at_least <= value <= at_most
        and not (above and value == at_least)
    ):
        return float(value)
    relation = "above" if above else "of at least"
    most = f" and at most {at_most:g}" if math.isfinite(at_most) else ""
    raise UsageError(
        f"{name} is {value!r}; expected a finite number {relation} {at_least:g}{most}."
    )
