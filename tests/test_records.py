"""Records to JSON data and back: every kind of field, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

import pytest

from antifragile._records import MAY_BE_ABSENT, RecordError, from_json, to_json


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


Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Score(Generic[Number]):
    value: Number


@dataclass(frozen=True)
class Best(Generic[Number]):
    score: Score[Number]
    recent: Score[Number] | None = None


def test_a_generic_record_is_read_with_its_types() -> None:
    best = Best(Score(2), Score(1))
    data = {"score": {"value": 2}, "recent": {"value": 1}}
    assert to_json(best) == data
    assert from_json(Best[int], data) == from_json(Best[float] | None, data) == best
    assert from_json(Best[float], {"score": {"value": 0.5}}) == Best(Score(0.5))
    with pytest.raises(RecordError, match=r"score\.value is 0\.5; expected a whole number"):
        from_json(Best[int], {"score": {"value": 0.5}})


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


@dataclass(frozen=True)
class Chain:
    by_place: Mapping[tuple[str, int], Point]
    points: list[Point] = field(default_factory=list)
    plain: Mapping[str, object] = field(default_factory=dict)
    below: Chain | None = None


CHAIN = Chain(
    by_place={("a.py", 1): Point(1.0)},
    points=[Point(2.0)],
    plain={"kernel": (3, (1, None)), "low": float("-inf"), "on": True},
    below=Chain(by_place={}),
)


def test_dictionaries_with_other_keys_become_pairs_and_come_back() -> None:
    data = to_json(CHAIN)
    assert data["by_place"] == [[["a.py", 1], {"x": 1.0, "name": "origin"}]]
    assert from_json(Chain, json.loads(json.dumps(data))) == CHAIN


@pytest.mark.parametrize(
    "changes",
    [
        {"by_place": {"a.py": {"x": 1.0}}},
        {"by_place": [["a.py", 1]]},
        {"by_place": [[["a.py", 1]]]},
        {"points": {"x": 1.0}},
        {"plain": {"deep": {"x": 1}}},
        {"plain": []},
        {"below": []},
    ],
)
def test_pairs_lists_and_plain_values_are_checked(changes: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        from_json(Chain, to_json(CHAIN) | changes)


def test_what_is_plain_stays_what_it_is() -> None:
    data = {"a": [1, 2.5, "x", None, True], "b": {}}
    assert to_json(data) == data
    assert from_json(None.__class__, None) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "blue"}, "colour is 'blue'; expected one of red"),
        ({"points": [{"x": 1}, {"name": "b"}]}, "points[1].x is missing"),
        ({"points": [{"x": "wide"}]}, "points[0].x is 'wide'; expected a number"),
        ({"points": {}}, "points is an object of 0 keys; expected a list"),
        ({"pair": ["a"]}, "pair is a list of 1 items; expected a list of 2 items"),
        ({"pair": ["a", None]}, "pair[1] is null; expected a whole number"),
        ({"sizes": {"w": True}}, "sizes.'w' is true; expected a number"),
        ({"sizes": {"w": 10**400}}, "sizes.'w' is a whole number of 1329 bits, more than the 63"),
        ({"pair": ["a", 2**63]}, "pair[1] is a whole number of 64 bits, more than the 63"),
        ({"extra": "x"}, "extra is 'x'; expected a whole number"),
    ],
)
def test_an_error_names_the_place_in_the_data(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError) as caught:
        from_json(Everything, DATA | changes)
    assert str(caught.value).startswith(message)


def test_an_error_about_the_whole_says_so() -> None:
    with pytest.raises(RecordError, match=r"^it is a list of 1 items; expected an object$"):
        from_json(Point, [1])
