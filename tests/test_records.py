"""Records to JSON data and back: every kind of field, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest

from antifragile._records import MAY_BE_ABSENT, from_json, to_json


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    x: float
    name: str = "origin"


@dataclass(frozen=True)
class Everything:
    colour: Colour
    points: tuple[Point, ...]
    pair: tuple[str, int]
    sizes: dict[str, float]
    is_done: bool
    reason: str | None
    extra: int | None = field(default=None, metadata=MAY_BE_ABSENT)


RECORD = Everything(Colour.RED, (Point(1.5), Point(2, "b")), ("a", 1), {"w": 2.0}, True, None)
DATA = {
    "colour": "red",
    "points": [{"x": 1.5, "name": "origin"}, {"x": 2, "name": "b"}],
    "pair": ["a", 1],
    "sizes": {"w": 2.0},
    "is_done": True,
    "reason": None,
}


def test_a_record_goes_to_json_and_back() -> None:
    assert to_json(RECORD) == DATA
    assert from_json(Everything, json.loads(json.dumps(DATA))) == RECORD


def test_a_default_stands_for_a_missing_key_and_an_unknown_key_is_ignored() -> None:
    assert from_json(Point, {"x": 1, "colour": "red"}) == Point(1)


def test_a_field_that_may_be_absent_is_written_when_it_is_there() -> None:
    data = DATA | {"extra": 3}
    assert to_json(from_json(Everything, data)) == data


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "blue"},
        {"points": {}},
        {"points": [{"name": "b"}]},
        {"points": [[1.5]]},
        {"pair": ["a"]},
        {"pair": [1, "a"]},
        {"sizes": {"w": "wide"}},
        {"is_done": 1},
        {"extra": True},
        {"reason": 0},
    ],
)
def test_other_types_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        from_json(Everything, DATA | changes)
