"""One walk finds everything below a value, once per path, and never an object below itself."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from antifragile.ablate.trace.nested import containers, flatten, tensors_in, walk


@dataclass
class Output:
    logits: Any
    hidden: Any = None


def is_text(value: object) -> bool:
    """Texts stand for tensors."""
    return isinstance(value, str)


def test_a_nested_output_is_flattened_by_path() -> None:
    value = Output(logits=["a", {"k": 2.5}], hidden=SimpleNamespace(b=np.ones(1), a="b"))
    found = flatten(value, is_text)
    paths = ["[logits][0]", "[logits][1][k]", "[hidden][a]", "[hidden][b]"]
    assert [path for path, _ in found] == paths
    assert [item for _, item in found][:3] == ["a", 2.5, "b"]


def test_functions_classes_and_arrays_of_text_are_left_out() -> None:
    assert flatten([len, int, Output, np.array(["x"]), None], is_text) == []


def test_tensors_are_looked_for_in_containers_only() -> None:
    value = (Output(logits="a"), ["b", 3], SimpleNamespace(c="c"))
    assert tensors_in(value, is_text) == ["a", "b"]


def test_an_object_below_itself_ends_the_walk() -> None:
    loop: list[Any] = ["a"]
    loop += [loop, loop]
    assert tensors_in(loop, is_text) == ["a"]


def test_a_shared_object_appears_under_each_path() -> None:
    shared = ["a"]

    def below(path: str, value: Any) -> list[tuple[str, Any]]:
        items = value if isinstance(value, list) else []
        return [(f"{path}.{place}", item) for place, item in enumerate(items)]

    found = [path for path, value in walk("x", [shared, shared], below) if value == "a"]
    assert found == ["x.0.0", "x.1.0"]


class Slotted:
    __slots__ = ("_cache", "x")

    def __init__(self, x: Any) -> None:
        self.x, self._cache = x, "b"


def test_slots_views_queues_and_scalars_are_data() -> None:
    value = [Slotted("a"), {"k": "b"}.values(), deque("c"), np.float32(0.5), np.array(True)]
    found = flatten(value, is_text)
    assert [path for path, _ in found] == ["[0][x]", "[1][0]", "[2][0]", "[3]", "[4]"]


def test_objects_that_hold_data_are_listed_by_type() -> None:
    value = (Output(logits=["a"]), {"k": Slotted("b")}, Output(logits=None), Slotted(None))
    assert containers(value, is_text) == [("[0]", "Output"), ("[1][k]", "Slotted")]


def test_tensors_in_plain_objects_are_found_where_asked_for() -> None:
    value = (Output(logits="a"), ["b", 3], SimpleNamespace(c="c"))
    assert tensors_in(value, is_text, in_objects=True) == ["a", "b", "c"]
