"""Studies of a command that are killed or stopped: the same command goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from antifragile.ablate.study.running.keys import READ_FILES
from tests.ablate.study.small_study import make_folder, write
from tests.cli.commands import Said, environment, start

MODEL = "FACTOR = 3\n\n\ndef build():\n    return None\n\n\ndef inputs():\n    return ()\n"
CUTS = {"model-factor--identity": ("FACTOR = 3", "FACTOR = 1")}
N_RUNS = 8  # of the baseline, its repeat, its placebo and the cut, each under two seeds
pytestmark = pytest.mark.slow  # a study each, started by its command line
TRAIN = """\
import json, os, pathlib, random, subprocess, sys, time
import model

seed, order, out, here = sys.argv[1:]
with open(os.path.join(here, "started.txt"), "a") as log:
    log.write(f"{model.FACTOR} {seed} {order} {os.getpid()} {os.getppid()}\\n")
n_started = len(open(os.path.join(here, "started.txt")).readlines())
pathlib.Path(out, "m.json").write_text("{")
pathlib.Path("checkpoint.txt").write_text("half a run")
if os.path.exists(os.path.join(here, f"stays-{n_started}")):
    wait = [sys.executable, "-c", "import time; time.sleep(300)"]
    subprocess.Popen(wait, start_new_session=True)  # as torchrun does
    pathlib.Path(here, "reached.txt").write_text("")
    time.sleep(300)
value = model.FACTOR + random.random()
pathlib.Path(out, "m.json").write_text(json.dumps({"value": value}))
"""
Numbers = dict[tuple[str, int, str], float]


class Typed:
    """A command typed in a repository, with a store and temporary files beside it."""

    def __init__(self, place: Path, train: str = TRAIN) -> None:
        """Write the repository."""
        self.place, self.source, self.temporary = place, place / "source", place / "tmp"
        self.variants = make_folder(place, model=MODEL, cuts=CUTS)
        write(self.source / "train.py", train)
        self.temporary.mkdir()
        self.before = contents(self.source)

    def start(self) -> subprocess.Popen[str]:
        """Start the study."""
        command = f"{sys.executable} train.py {{seed}} {{order}} {{out}} {self.place}"
        return start(
            self.source,
            *("ablate", "run", self.variants, "--command", command, "--seeds", 2),
            *("--metric", "json:{out}/m.json:value"),
            env=environment(self.place) | {"TMPDIR": str(self.temporary)},
        )

    def finish(self) -> Said:
        """Run the study to its end."""
        process = self.start()
        out, err = process.communicate(timeout=60)
        return Said(process.returncode, out, err)

    def reach(self, n_started: int, n_tried: int = 0) -> subprocess.Popen[str]:
        """Start the study, wait until its run of this number hangs and those before are stored.

        A run starts while the one before it is being stored. Of those that were started, `n_tried`
        only try how runs can be started, and are not stored.
        """
        (self.place / f"stays-{n_started}").touch()
        process, until = self.start(), time.monotonic() + 60
        n_stored = n_started - 1 - n_tried
        while not (self.place / "reached.txt").exists() or self.count_stored() < n_stored:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        return process

    def count_stored(self) -> int:
        """The number of runs that ended and are in the store."""
        store, query = self.variants / "ablation.db", "protocol != ? and failure is null"
        with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as opened:
            rows = opened.execute(f"select count(*) from ablation_runs where {query}", [READ_FILES])
            return int(rows.fetchone()[0])

    def started(self) -> list[list[str]]:
        """Factor, seed, order and processes of each run that was started."""
        return [line.split() for line in (self.place / "started.txt").read_text().splitlines()]

    def numbers(self) -> Numbers:
        """The metric of each run."""
        runs = json.loads((self.variants / "manifest.json").read_text())["runs"]
        return {(str(r["ablated"]), r["seed"], r["role"]): r["metrics"]["value"] for r in runs}

    def processes(self) -> list[int]:
        """Processes that were started in the study and still run."""
        found, mark = [], f"TMPDIR={self.temporary}".encode()
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError, IndexError):
                is_dead = (path.parent / "stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
                if not is_dead and mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def wait_until_all_left(self) -> None:
        """Check that no process outlives the study."""
        until = time.monotonic() + 15
        while left := self.processes():
            assert time.monotonic() < until, left
            time.sleep(0.02)

    def check_end(self, whole: Numbers, *, killed: int) -> None:
        """Go on to the end, and check that nothing was lost, run twice, or left."""
        done = self.finish()
        assert f"{N_RUNS - killed + 1} runs, {killed - 1} found in the store" in done.out
        self.check_left(done, whole)
        runs = [" ".join(line[:3]) for line in self.started()]
        assert len(runs) == N_RUNS + 1
        assert len(set(runs)) == N_RUNS - 2  # a baseline and its repeat are typed alike

    def check_left(self, done: Said, whole: Numbers) -> None:
        """Check the numbers of a study that went on to its end, and what it left."""
        assert done.code == 0, done.err
        assert self.numbers() == whole
        folders = list(self.variants.glob("ablation.db.files/*/runs/*"))
        assert len(folders) == N_RUNS
        assert all(json.loads((f / "out" / "m.json").read_text())["value"] for f in folders)
        assert contents(self.source) == self.before
        self.wait_until_all_left()
        assert not list(self.temporary.iterdir())
        assert str(self.place) not in Path("/proc/self/mountinfo").read_text()


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file."""
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Numbers:
    """The numbers of a study that nobody interrupts."""
    typed = Typed(tmp_path_factory.mktemp("whole"))
    done = typed.finish()
    assert done.code == 0, done.err
    return typed.numbers()


@pytest.fixture
def typed(tmp_path: Path) -> Iterator[Typed]:
    """A command that can be typed; what it started is ended."""
    found = Typed(tmp_path)
    yield found
    for pid in found.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def age(folder: Path) -> None:
    """Make temporary folders old: younger ones may be about to be held by their process."""
    for path in folder.iterdir():
        os.utime(path, (0, 0))


def test_a_killed_study_goes_on(typed: Typed, whole: Numbers) -> None:
    process = typed.reach(4)
    process.kill()
    process.communicate()
    typed.wait_until_all_left()
    age(typed.temporary)
    typed.check_end(whole, killed=4)


def test_a_killed_study_of_forks_goes_on(tmp_path: Path, whole: Numbers) -> None:
    """Two baselines are started, a fork is tried, and the other runs are forks."""
    typed = Typed(tmp_path, train=f"import numpy\n{TRAIN}")
    process = typed.reach(5, n_tried=1)
    forked = Path("/proc", typed.started()[-1][3], "cmdline").read_bytes()
    assert b"train.py" not in forked
    process.kill()
    process.communicate()
    typed.wait_until_all_left()
    age(typed.temporary)
    done = typed.finish()
    assert "5 runs, 3 found in the store" in done.out
    typed.check_left(done, whole)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_study_says_so_and_goes_on(
    by: signal.Signals, typed: Typed, whole: Numbers
) -> None:
    process = typed.reach(6)
    process.send_signal(by)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted; run the same command again to go on."
    assert "Traceback" not in err
    typed.wait_until_all_left()
    assert not list(typed.temporary.iterdir())
    typed.check_end(whole, killed=6)


def test_a_killed_run_is_a_failure_and_is_run_again(typed: Typed, whole: Numbers) -> None:
    process = typed.reach(3)
    os.kill(int(typed.started()[-1][4]), signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{N_RUNS} runs, 1 failed" in out
    assert "crashed (SIGKILL)" in (typed.variants / "manifest.json").read_text()
    typed.wait_until_all_left()
    typed.check_end(whole, killed=N_RUNS)


def test_a_killed_server_ends_the_study_with_all_that_it_ran(typed: Typed, whole: Numbers) -> None:
    process = typed.reach(3)
    job = Path("/proc", typed.started()[-1][4], "stat").read_text()
    os.kill(int(job.rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    *progress, said = err.splitlines()
    assert said.startswith("error: the process that runs model code ended")
    assert all(line.startswith(("1 of 8 runs", "2 of 8 runs")) for line in progress)
    typed.wait_until_all_left()
    typed.check_end(whole, killed=3)
