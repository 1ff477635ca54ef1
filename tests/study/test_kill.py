"""kill -9 of the driver or of a worker at random moments leaves the same store in the end."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest

from antifragile.study.runner import run_study
from tests.study.conftest import make_spec, write_toml

SPEC = make_spec(meta_loops=60)
TIMES = {"seconds", "finished_at", "created_at", "checksum", "records_checksum"}


@cache
def uninterrupted(engine: str, precision: str = "fp32") -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        run = run_study(SPEC, store=f"{folder}/s.db", engine=engine, precision=precision)
        run.store.close()
        return everything(Path(folder))


def everything(path: Path) -> dict[str, object]:
    """Every table, times aside, and the bytes of every kept state."""
    with sqlite3.connect(path / "s.db") as connection:
        names = [
            row[0]
            for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        tables: dict[str, object] = {}
        for name in names:
            cursor = connection.execute(f"SELECT * FROM {name}")
            columns = [column[0] for column in cursor.description]
            keep = [i for i, column in enumerate(columns) if column not in TIMES]
            tables[name] = sorted(tuple(row[i] for i in keep) for row in cursor)
    connection.close()
    states = {p.name: p.read_bytes() for p in (path / "s.db.files").rglob("*.safetensors")}
    return tables | {"states": states}


def start(path: Path, workers: int, engine: str, precision: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "antifragile", "study", "run", str(path / "spec.toml")]
    command += ["--store", str(path / "s.db"), "--workers", str(workers)]
    command += ["--checkpoint-every", "0", "--engine", engine, "--precision", precision]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def n_records(path: Path) -> int:
    try:
        with sqlite3.connect(f"file:{path / 's.db'}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM meta_loops").fetchone()[0])
    except sqlite3.Error:
        return 0
    finally:
        if "connection" in locals():
            connection.close()


def workers_of(pid: int) -> list[int]:
    """Worker processes of a driver: children that were spawned to run tasks."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "spawn_main" in line]


def kill_once(path: Path, workers: int, engine: str, precision: str, rng: random.Random) -> bool:
    """Start, wait for some progress or no progress at all, kill; False if it finished first."""
    before, gain = n_records(path), rng.choice([0, 1, rng.randrange(1, 150)])
    process = start(path, workers, engine, precision)
    deadline = time.monotonic() + 60
    while process.poll() is None and n_records(path) < before + gain:
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 0.5))
    victims = workers_of(process.pid) if rng.random() < 0.5 else []
    victim = rng.choice(victims) if victims else process.pid
    orphans = workers_of(process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    if victim != process.pid and process.returncode != 0:
        assert process.returncode == 1, errors.decode()
        assert b"a worker process died" in errors
    wait_until_gone(orphans)
    return process.returncode != 0


def wait_until_gone(pids: list[int]) -> None:
    """Workers end with their driver."""
    deadline = time.monotonic() + 30
    for pid in pids:
        while Path(f"/proc/{pid}").exists() and "Z" not in state_of(pid):
            assert time.monotonic() < deadline, f"worker {pid} outlived its driver"
            time.sleep(0.05)


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def survive(
    path: Path, workers: int, engine: str, n_kills: int, seed: int, precision: str = "fp32"
) -> dict[str, object]:
    write_toml(SPEC, path / "spec.toml")
    rng, kills = random.Random(seed), 0
    while kills < n_kills:
        if not kill_once(path, workers, engine, precision, rng):
            break
        kills += 1
    last = start(path, workers, engine, precision)
    output, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors.decode()
    assert b"24 finished in all" in output
    assert kills >= min(n_kills, 2), "the study finished before it could be killed"
    return everything(path)


@pytest.mark.parametrize(
    ("engine", "workers", "n_kills", "precision"),
    [
        pytest.param("plain", 1, 2, "fp32", marks=pytest.mark.slow),
        ("fleet", 2, 2, "bf16"),
        pytest.param("fleet", 2, 3, "fp32", marks=pytest.mark.slow),
    ],
)
def test_a_killed_study_ends_with_the_same_store(
    engine: str, workers: int, n_kills: int, precision: str, tmp_path: Path
) -> None:
    seed = random.randrange(10**6)
    print(f"kill seed {seed}")
    ours = survive(tmp_path, workers, engine, n_kills, seed, precision)
    assert ours == uninterrupted(engine, precision)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ["fleet", "plain"])
@pytest.mark.parametrize("workers", [1, 2])
def test_twenty_kills_in_all_end_with_the_same_store(
    engine: str, workers: int, tmp_path: Path
) -> None:
    seed = random.randrange(10**6)
    print(f"kill seed {seed}")
    assert survive(tmp_path, workers, engine, 5, seed) == uninterrupted(engine)
