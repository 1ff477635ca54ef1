"""Ctrl-C ends a run with 130, says how to go on, and leaves nobody behind."""

from __future__ import annotations

import json
import os
import random
import runpy
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from tests.cli.commands import run_here, start, write_spec
from tests.study.test_kill import wait_until_gone, workers_of

STUDY = ("study", "run", "s.toml", "--store", "runs.db", "--engine", "plain")
TRIAL = ("train", "--dataset", "tiny", "--arch", "1*4", "--out", "out", "--meta-loops", "300")


def n_records(folder: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{folder / 'runs.db'}?mode=ro", uri=True)) as store:
            return int(store.execute("SELECT count(*) FROM meta_loops").fetchone()[0])
    except sqlite3.Error:
        return 0


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def interrupt(process: subprocess.Popen[str], *, by: str = "Ctrl-C") -> tuple[int, str, str]:
    """Press Ctrl-C: the terminal sends the signal to every process of the group; or SIGTERM."""
    if by == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    out, err = process.communicate(timeout=15)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("workers", "by"),
    [
        pytest.param(1, "Ctrl-C", marks=pytest.mark.slow),
        (2, "Ctrl-C"),
        pytest.param(2, "SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_study_goes_on(workers: int, by: str, tmp_path: Path) -> None:
    write_spec(tmp_path / "s.toml", meta_loops=30)
    options = ("--workers", workers, "--checkpoint-every", 0)
    process = start(tmp_path, *STUDY, *options)
    wait_for(lambda: n_records(tmp_path), process)
    hands = workers_of(process.pid)
    code, out, err = interrupt(process, by=by)
    assert (code, out, len(hands)) == (130, "", workers if workers > 1 else 0)
    assert err.splitlines()[-1] == "interrupted; run the same command again to go on."
    assert "Traceback" not in err
    wait_until_gone(hands)
    before = n_records(tmp_path)
    assert 0 < before < 240
    done = run_here(tmp_path, *STUDY, *options, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["trials"] == 8
    assert n_records(tmp_path) == 240


@pytest.mark.parametrize("by", ["Ctrl-C", "SIGTERM"])
def test_an_interrupted_trial_goes_on(by: str, tmp_path: Path) -> None:
    process = start(tmp_path, *TRIAL)
    assert process.stderr is not None
    first = process.stderr.readline()
    assert first.startswith("meta-loop 1:")
    code, out, err = interrupt(process, by=by)
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("interrupted after meta-loop ")
    assert last.endswith("; the state is in out: run the same command with --resume to go on.")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "lkg.json",
        "lkg.safetensors",
    ]
    done = run_here(tmp_path, *TRIAL, "--resume", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["meta_loops"] == 300


def test_ctrl_c_during_the_first_imports_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Pressed(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "antifragile.cli.main", Pressed("main"))
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("antifragile", run_name="__main__")
    assert stopped.value.code == 130
    assert capsys.readouterr() == ("", "interrupted; run the same command again to go on.\n")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_ctrl_c_at_any_moment_is_quiet(seed: int, tmp_path: Path) -> None:
    write_spec(tmp_path / "s.toml", meta_loops=300)
    process = start(tmp_path, *STUDY, "--workers", 2)
    time.sleep(random.Random(seed).uniform(1.5, 7))  # while importing, starting workers, training
    code, out, err = interrupt(process)
    # A shell says 130 for both: where it cut an exec() short, Python ends itself by the signal.
    assert code in (130, -signal.SIGINT)
    assert out == ""
    assert "Traceback" not in err
    assert "go on" in err.splitlines()[-1]
