"""Broken inputs: a slice with a fixed seed finds no fault, and the program counts and goes on."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from antifragile.errors import UsageError
from benchmarks.trust.fuzz import Tally, main, note, print_table, try_reader
from benchmarks.trust.fuzzing.mutations import mutate_bytes, mutate_data, mutate_text
from benchmarks.trust.fuzzing.readers import Reader


def reads(number: int) -> None:
    if number == 1:
        raise UsageError("one is refused.")
    if number == 2:
        raise ZeroDivisionError("two")


def test_an_outcome_is_taken_refused_or_a_fault_that_is_kept(tmp_path: Path) -> None:
    def write(folder: Path, _: random.Random) -> int:
        (folder / "input").write_text("kept")
        return next(numbers)

    numbers, tally = iter(range(3)), Tally()
    reader = Reader("numbers", write, reads)
    for number in range(3):
        note(tally, *try_reader(reader, number, 1, tmp_path), 0.1)
    assert (tally.inputs, tally.accepted, tally.refused) == (3, 1, 1)
    ((number, said),) = tally.faults
    assert number == 2
    assert said.startswith("ZeroDivisionError('two') in test_fuzz.py:")
    assert (tmp_path / "numbers 2" / "input").read_text() == "kept"
    assert not (tmp_path / "numbers 1").exists()


def test_an_input_can_be_made_again() -> None:
    for mutate, good in (
        (mutate_text, "name = 1\nx = [2, 3]"),
        (mutate_bytes, bytes(range(64))),
        (mutate_data, {"a": [1, {"b": "c"}], "d": None}),
    ):
        made = [repr(mutate(good, random.Random(n))) for n in range(60)]
        assert made == [repr(mutate(good, random.Random(n))) for n in range(60)]
        assert len(set(made)) > 40


def test_the_table_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("reader", {"a": Tally(inputs=2, refused=2), "b": Tally(inputs=1, accepted=1)})
    assert "| all | 3 | 2 | 1 | 0 | 0.0 |" in capsys.readouterr().out


@pytest.mark.slow
def test_no_broken_input_is_an_internal_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "fuzz.json"
    options = ["--seed", "11", "--work", str(tmp_path / "work"), "--out", str(out)]
    assert main(["--count", "600", *options]) == 0, capsys.readouterr().err
    half = json.loads(out.read_text())["readers"]
    assert main(["--count", "1200", *options]) == 0, capsys.readouterr().err
    whole = json.loads(out.read_text())["readers"]
    assert sum(tally["inputs"] for tally in whole.values()) >= 1200
    for name, tally in whole.items():
        assert tally["inputs"] >= half[name]["inputs"]
        assert tally["refused"] > 0, name
        assert not tally["faults"], name
