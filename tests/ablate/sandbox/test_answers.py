"""Answers of children are JSON data of the declared type; what is not is one plain sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest

from antifragile.ablate.records import Entry
from antifragile.ablate.sandbox import answers
from antifragile.ablate.sandbox.answers import MalformedAnswer, read_answer, take_file, write_value
from antifragile.ablate.sandbox.job import Failure, Job, Limits, Outcome
from antifragile.ablate.sandbox.server import Server
from tests.ablate.sandbox import misbehaving

HERE, ROOT = str(Path(__file__).parent), str(Path(__file__).parents[3])


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Seen:
    by_place: Mapping[tuple[str, int], tuple[int, ...]]
    colours: dict[Colour, list[Entry]]
    settings: Mapping[str, object] = field(default_factory=dict)
    nodes: tuple[tuple[tuple[int, ...], Mapping[str, int | None]], ...] = ()


SEEN = Seen(
    by_place={("a.py", 3): (1, 2), ("b.py", 0): ()},
    colours={Colour.RED: [Entry(file="a.py", function="f")]},
    settings={"low": float("-inf"), "kernel": (3, (1, 2)), "name": "ä\n", "none": None, "on": True},
    nodes=(((1, 2), {"0": None, "self": 4}),),
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(limits=Limits(timeout_s=20.0), preload=("torch",)) as running:
        yield running


def run(server: Server, function: str) -> Outcome:
    target = getattr(misbehaving, function)
    return server.run_one(Job(target=target, folder=HERE, paths=(ROOT,)))


def test_a_value_comes_back_as_its_type(tmp_path: Path) -> None:
    write_value(tmp_path / "answer", SEEN)
    found = read_answer(tmp_path / "answer", Seen)
    assert found is not None
    assert found.value == SEEN


def test_there_may_be_no_answer(tmp_path: Path) -> None:
    assert read_answer(tmp_path / "answer", Seen) is None


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("answers_nothing", "left an empty answer"),
        ("answers_half", "left an answer that is not JSON, or only a part of it"),
        ("answers_a_pickle", "left an answer that is not JSON, or only a part of it"),
        ("answers_nan", "left an answer that is not JSON, or only a part of it"),
        ("answers_a_giant_number", "left an answer that is not JSON, or only a part of it"),
        ("answers_a_deep_list", "left an answer that is not JSON, or only a part of it"),
        ("answers_half_a_letter", "left an answer that is not JSON, or only a part of it"),
        ("answers_a_list", "answered with something else than a value or a failure"),
        (
            "answers_another_type",
            "answered with a value of another type (file is 3; expected a text)",
        ),
        (
            "answers_without_a_field",
            "answered with a value of another type (function is missing)",
        ),
        ("answers_no_reason", "answered with a failure without reason"),
        ("answers_a_folder", "left something else than a file as its answer"),
        ("answers_a_pipe", "left something else than a file as its answer"),
        ("answers_a_link", "left something else than a file as its answer"),
        (
            "answers_too_much",
            "left 67,108,865 bytes as its answer, more than the 67,108,864 allowed",
        ),
        (
            "tensor",
            "returned something that is no plain data "
            "(Object of type Tensor is not JSON serializable)",
        ),
        (
            "stranger",
            "returned something that is no plain data "
            "(Object of type Fraction is not JSON serializable)",
        ),
        ("contains_itself", "returned something that is nested too deep"),
    ],
)
def test_a_malformed_answer_is_one_sentence(server: Server, function: str, reason: str) -> None:
    outcome = run(server, function)
    assert (outcome.value, outcome.failure) == (None, Failure.MALFORMED)
    assert outcome.reason == reason


def test_a_word_that_is_not_in_the_enum_is_refused(server: Server) -> None:
    outcome = run(server, "answers_an_unknown_word")
    assert outcome.failure is Failure.MALFORMED
    assert outcome.reason.startswith("answered with a value of another type (")
    assert "is 'shrug'; expected one of " in outcome.reason


def test_a_child_cannot_name_a_failure_that_only_we_can_see(server: Server) -> None:
    assert run(server, "answers_a_timeout").failure is Failure.MALFORMED


def test_a_reason_is_one_line_without_what_steers_a_terminal(server: Server) -> None:
    outcome = run(server, "answers_an_escape")
    assert (outcome.failure, outcome.reason) == (Failure.RAISED, "red [31m and more")


def test_a_step_that_is_no_text_is_left_out(server: Server) -> None:
    outcome = run(server, "makes_a_pipe_of_the_stage")
    assert (outcome.failure, outcome.reason) == (Failure.CRASHED, "crashed (SIGSEGV)")


def test_only_the_server_can_report_endings(server: Server) -> None:
    assert run(server, "writes_to_every_descriptor").failure is None
    assert run(server, "record").value == Entry(file="a.py", function="f")


def test_letters_that_nobody_can_print_are_refused(tmp_path: Path) -> None:
    (tmp_path / "answer").write_text(json.dumps({"value": "\ud800"}))
    with pytest.raises(MalformedAnswer, match="not JSON"):
        read_answer(tmp_path / "answer", str)


def test_the_length_is_checked_before_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MOST_BYTES", 20)
    write_value(tmp_path / "answer", "x" * 7)
    assert read_answer(tmp_path / "answer", str) is not None
    write_value(tmp_path / "answer", "x" * 8)
    with pytest.raises(MalformedAnswer, match="21 bytes as its answer, more than the 20 allowed"):
        read_answer(tmp_path / "answer", str)


def test_a_file_is_taken_in_parts_up_to_a_length(tmp_path: Path) -> None:
    left, taken = tmp_path / "left", tmp_path / "taken"
    left.write_bytes(b"x" * (2 * 2**20 + 1))
    take_file(left, taken, 2 * 2**20 + 1, "its weights")
    assert taken.read_bytes() == left.read_bytes()


@pytest.mark.parametrize("kind", ["sparse", "link", "pipe"])
def test_what_is_no_file_of_that_length_is_not_taken(tmp_path: Path, kind: str) -> None:
    left, taken = tmp_path / "left", tmp_path / "taken"
    if kind == "sparse":
        with left.open("wb") as file:
            file.truncate(2**36)
    elif kind == "link":
        left.symlink_to("/dev/zero")
    else:
        os.mkfifo(left)
    with pytest.raises(MalformedAnswer, match="as its weights"):
        take_file(left, taken, 2**20, "its weights")
    assert not taken.exists()
