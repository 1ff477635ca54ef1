"""The program that kills sees each fault that it counts, and finds none in a few tries."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.trust.kills import tries
from benchmarks.trust.kills.__main__ import main, table
from benchmarks.trust.kills.comparison import (
    contents,
    differences,
    half_written,
    in_part,
    leftovers,
    set_of,
)
from tests.ablate.study.small_study import make_folder


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What a command may leave: a store, a page, an export, a story, a state."""
    folder = tmp_path / "left"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "s.db")) as connection:
        connection.execute("CREATE TABLE trials (trial INTEGER, peak INTEGER, seconds REAL)")
        connection.executemany("INSERT INTO trials VALUES (?, ?, ?)", [(1, 9, 0.5), (2, 8, 0.25)])
        connection.commit()
    (folder / "index.html").write_text("<html><body></body></html>\n")
    (folder / "e.csv").write_text("trial,peak,seconds\n1,9,0.5\n2,8,0.25\n")
    (folder / "lkg.json").write_text(json.dumps({"seconds": 3.0, "records": [{"bounty": 9}]}))
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    return folder


def test_wall_times_are_no_difference(left: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(left, other)
    with closing(sqlite3.connect(other / "s.db")) as connection:
        connection.execute("UPDATE trials SET seconds = 7")
        connection.commit()
    (other / "e.csv").write_text("trial,peak,seconds\n1,9,3\n2,8,4\n")
    (other / "lkg.json").write_text(json.dumps({"seconds": 9.0, "records": [{"bounty": 9}]}))
    assert differences(contents(other), contents(left)) == ([], [])


@pytest.mark.parametrize(
    ("statement", "is_lost"),
    [("DELETE FROM trials WHERE trial = 2", True), ("UPDATE trials SET peak = 7", False)],
)
def test_a_row_that_is_lost_or_changed_is_seen(
    left: Path, statement: str, *, is_lost: bool
) -> None:
    before = contents(left)
    with closing(sqlite3.connect(left / "s.db")) as connection:
        connection.execute(statement)
        connection.commit()
    lost, changed = differences(contents(left), before)
    assert (lost, changed) == ((["s.db: trials"], []) if is_lost else ([], ["s.db: trials"]))


def test_a_file_that_is_lost_changed_or_new_is_seen(left: Path) -> None:
    before = contents(left)
    (left / "index.html").unlink()
    (left / "a.safetensors").write_bytes(b"other")
    (left / "more.txt").write_text("more")
    assert differences(contents(left), before) == (["index.html"], ["more.txt", "a.safetensors"])


@pytest.mark.parametrize("name", ["s.db", "index.html", "e.csv", "lkg.json", "a.safetensors"])
def test_half_a_file_is_seen(left: Path, name: str) -> None:
    assert half_written(left) == []
    content = (left / name).read_bytes()
    (left / name).write_bytes(content[: len(content) // 2])
    [found] = half_written(left)
    assert found.startswith(f"{name}: ")


def test_a_page_or_an_export_in_part_is_seen(left: Path) -> None:
    whole = contents(left)
    assert in_part(left, whole) == []
    (left / "e.csv").write_text("trial,peak,seconds\n1,9,0.5\n")
    assert half_written(left) == []
    assert in_part(left, whole) == ["e.csv: not the whole file"]


def test_what_was_being_made_is_a_leftover(left: Path) -> None:
    assert leftovers(left) == []
    (left / ".lkg.json.0123456789abcdef.tmp").write_text("{")
    (left / "v" / ".ablations" / "new").mkdir(parents=True)
    (left / "v" / ".ablations" / "generate.lock").touch()
    assert half_written(left) == []
    assert leftovers(left) == [".lkg.json.0123456789abcdef.tmp", "v/.ablations/new"]


def test_a_set_that_is_none_is_seen(tmp_path: Path) -> None:
    variants = make_folder(tmp_path)
    whole = set_of(variants)
    assert set_of(variants) == whole
    (variants / "ablations.json").write_text("{}")
    assert "is damaged or not finished" in str(set_of(variants))


def test_a_process_that_stays_is_named_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "_LEAVE_S", 0.5)
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    environment = {**os.environ, tries.MARK: "a try of a test"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        [words] = tries._left("a try of a test")
        assert "time.sleep(60)" in words
        assert tries._left("another") == []
        tries._end("a try of a test")
        assert process.wait(10) != 0


def test_figures_add_up_by_command_and_signal() -> None:
    rows = [
        {"verb": "train", "hits": ["KILL", "STOP"], "faults": {}},
        {"verb": "train", "hits": ["KILL"], "faults": {"lost": ["x"]}},
        {"verb": "report", "hits": [], "faults": {}},
    ]
    assert table(rows).splitlines() == [
        "| command | tries | KILL | TERM | INT | HUP | STOP "
        "| lost | changed | half-written | left processes | not finished |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
        "| report | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |",
        "| train | 2 | 2 | 0 | 0 | 0 | 1 | 1 | 0 | 0 | 0 | 0 |",
        "| all | 3 | 2 | 0 | 0 | 0 | 1 | 1 | 0 | 0 | 0 | 0 |",
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_few_kills_lose_nothing(tmp_path: Path) -> None:
    words = ["--only", "study run, 2 workers", "--only", "ablate generate"]
    out = tmp_path / "kills.json"
    assert main([*words, "--count", "6", "--seed", "11", "--out", str(out)]) == 0
    assert main([*words, "--count", "0", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert len(found) == 6
    assert sum(len(item["hits"]) for item in found) >= 3
