"""The check of a number that a user gave."""

from __future__ import annotations

from typing import Any

from antifragile.errors import UsageError

LARGEST = 1e18
"""Largest number of a rule: beyond it, sums and products in float32 are soon not finite."""


def check_number(
    value: Any,
    name: str,
    *,
    at_least: float = 0.0,
    at_most: float = LARGEST,
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
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and at_least <= value <= at_most and not (above and value == at_least):
        return float(value)
    relation = "above" if above else "of at least"
    is_bounded = at_most < LARGEST or (is_number and value > at_most)
    most = f" and at most {at_most:g}" if is_bounded else ""
    raise UsageError(
        f"{name} is {_shown(value)}; expected a finite number {relation} {at_least:g}{most}."
    )


def check_whole_number(value: Any, name: str, *, at_least: int, at_most: int) -> int:
    """Return a whole number within bounds.

    Args:
        value: The value to check; a bool is no number.
        name: Its name in the message.
        at_least: Lower bound.
        at_most: Upper bound.

    Raises:
        UsageError: It is no such number.
    """
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if is_whole and at_least <= value <= at_most:
        return int(value)
    raise UsageError(
        f"{name} is {_shown(value)}; expected a whole number from {at_least} to {at_most}."
    )


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) > 2**64:
        return f"a whole number of {value.bit_length()} bits"
    return f"{value!r:.200}"
