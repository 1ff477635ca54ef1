"""Whatever happened to a file: an answer or one sentence, never a traceback."""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antifragile.config.specs.study import StudySpec
from antifragile.study.runner import run_study
from tests.cli.commands import SPEC, run_here

READERS = (
    "study status --json",
    "study summary",
    "study export --table meta_loops",
    "study export --table trials --format json",
)
few = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
many = settings(few, max_examples=300)


@pytest.fixture(scope="module")
def good_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "runs.db"
    run_study(StudySpec.from_mapping(SPEC), store=str(path)).store.close()
    return path.read_bytes()


@pytest.fixture(scope="module")
def good_trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trial")
    arguments = "train --dataset tiny --arch 1*4 --meta-loops 2 --out"
    assert run_here(folder, *arguments.split(), folder).code == 0
    return folder


def answers_calmly(line: str) -> None:
    said = run_here(Path(), *shlex.split(line))
    assert said.code in (0, 1, 2), said
    assert "internal error" not in said.err
    assert "Traceback" not in said.err
    assert said.code == 0 or "error: " in said.err


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Some bytes changed, or the end cut off, or a hole of zeros, or other bytes altogether."""
    kind = draw(st.sampled_from(["flips", "cut", "hole", "noise"]))
    if kind == "noise":
        return draw(st.sampled_from([content[:16], content[:100], b""])) + draw(st.binary())
    place = draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        return content[:place]
    changed = bytearray(content)
    if kind == "hole":
        changed[place : place + draw(st.integers(1, 5000))] = b""
    for _ in range(draw(st.integers(1, 8)) if changed else 0):
        changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
    return bytes(changed)


def read_damaged_store(data: st.DataObject, good: bytes, folder: Path) -> None:
    for leftover in folder.glob("runs.db*"):
        leftover.unlink()
    (folder / "runs.db").write_bytes(data.draw(damaged(good)))
    for reader in READERS:
        answers_calmly(f"{reader} --store {folder / 'runs.db'}")


@few
@given(data=st.data())
def test_a_damaged_store(data: st.DataObject, good_store: bytes, tmp_path: Path) -> None:
    read_damaged_store(data, good_store, tmp_path)


@pytest.mark.slow
@many
@given(data=st.data())
def test_stores_damaged_often(data: st.DataObject, good_store: bytes, tmp_path: Path) -> None:
    read_damaged_store(data, good_store, tmp_path)


CELLS = [
    ("studies", column)
    for column in ("name", "spec", "n_validation", "n_test", "zero_r_test", "created_at")
] + [
    ("trials", column)
    for column in ("study_id", "architecture", "trial", "meta_loops", "peak_correct", "mode")
] + [
    ("meta_loops", column)
    for column in ("meta_loop", "validation_correct", "promoted", "ablated_layer", "train_loss")
]  # fmt: skip
VALUES = ["'x'", "NULL", "0", "-1", "1e308", "9e999", "9223372036854775807", "x'ff00'", "''"]


@pytest.mark.parametrize(("table", "column"), CELLS)
def test_a_store_with_impossible_values(
    table: str, column: str, good_store: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "runs.db"
    for value in VALUES:
        path.write_bytes(good_store)
        with closing(sqlite3.connect(path)) as connection:
            try:
                connection.execute("PRAGMA ignore_check_constraints = ON")
                connection.execute(f"UPDATE {table} SET {column} = {value} WHERE rowid = 1")
            except sqlite3.IntegrityError:  # the schema itself refuses it
                continue
            connection.commit()
        for reader in READERS:
            answers_calmly(f"{reader} --store {path}")


def resume_damaged(data: st.DataObject, good: Path, folder: Path) -> None:
    victim = data.draw(st.sampled_from(["lkg.safetensors", "lkg.json"]))
    for path in good.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / victim).write_bytes(data.draw(damaged((good / victim).read_bytes())))
    answers_calmly(f"train --dataset tiny --arch 1*4 --meta-loops 3 --resume --out {folder}")


@few
@given(data=st.data())
def test_a_damaged_state(data: st.DataObject, good_trial: Path, tmp_path: Path) -> None:
    resume_damaged(data, good_trial, tmp_path)


@pytest.mark.slow
@many
@given(data=st.data())
def test_states_damaged_often(data: st.DataObject, good_trial: Path, tmp_path: Path) -> None:
    resume_damaged(data, good_trial, tmp_path)
