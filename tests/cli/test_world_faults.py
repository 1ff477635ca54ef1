"""A full disk, a closed folder, a dead worker, for real: exit code 1, one sentence, go on after.

Limits on file sizes and dropped rights are set between fork and exec of a real process.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.commands import Said, contents, environment, run_here, run_process, start, write_spec
from tests.cli.test_interrupts import STUDY, n_records, wait_for
from tests.study.test_kill import wait_until_gone, workers_of

STORE = ("--store", "runs.db")
ROOT = Path(__file__).parents[2]
TRIAL = ("train", "--dataset", "tiny", "--arch", "1*64", "--meta-loops", 2, "--out", "out")


def is_a_world_fault(said: Said) -> bool:
    """Exit code 1, nothing to stdout, and after the progress one sentence."""
    progress = ("study ", "meta-loop ")
    words = [line for line in said.err.splitlines() if not line.startswith(progress)]
    return Said(said.code, said.out, "\n".join(words)).is_one_error() and said.code == 1


def finishes(folder: Path) -> bool:
    said = run_here(folder, "study", "run", "s.toml", *STORE, "--json")
    assert said.code == 0, said.err
    return bool(json.loads(said.out)["trials"] == 8)


def no_temporary_files(folder: Path) -> bool:
    return not [name for name in contents(folder) if Path(name).name.startswith(".")]


def largest_file(size_bytes: int) -> Callable[[], None]:
    """As on a full disk, a write beyond this size fails."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))

    return limit


@pytest.mark.parametrize("size_bytes", [0, 70_000])
def test_a_store_on_a_full_disk(size_bytes: int, tmp_path: Path) -> None:
    write_spec(tmp_path / "s.toml", meta_loops=150)
    limited = {"preexec_fn": largest_file(size_bytes)}
    said = run_process(tmp_path, "study", "run", "s.toml", *STORE, **limited)
    assert is_a_world_fault(said), said
    assert "store runs.db cannot be used: " in said.err
    assert no_temporary_files(tmp_path)
    assert finishes(tmp_path)
    assert n_records(tmp_path) == 8 * 150


def test_a_state_on_a_full_disk(tmp_path: Path) -> None:
    short = [*TRIAL[:-1], "out"]
    assert run_here(tmp_path, *short).code == 0
    before = contents(tmp_path)
    longer = ["3" if word == 2 else word for word in short]
    said = run_process(tmp_path, *longer, "--resume", preexec_fn=largest_file(500))
    assert is_a_world_fault(said), said
    assert "error: cannot write out/lkg.json: File too large; free space" in said.err
    assert contents(tmp_path) == before
    assert run_here(tmp_path, *longer, "--resume").code == 0


def test_an_export_on_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    write_spec(tmp_path / "s.toml", meta_loops=100)
    assert finishes(tmp_path)
    (tmp_path / "all.csv").write_text("old")
    before = contents(tmp_path)
    export = ("study", "export", *STORE, "--out", "all.csv")
    said = run_process(tmp_path, *export, preexec_fn=largest_file(40_000))
    assert is_a_world_fault(said), said
    assert "error: cannot write all.csv: File too large; free space" in said.err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("arguments", ["landscape", "landscape --json", "data info tiny"])
def test_results_into_a_full_device(arguments: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        said = run_process(tmp_path, *arguments.split(), stdout=full)
    assert is_a_world_fault(said), said
    assert said.err == (
        "error: No space left on device; mend that and run the same command again.\n"
    )


def test_messages_into_a_full_device_keep_the_exit_code(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        said = run_process(tmp_path, "train", "--mode", "hiden", stderr=full)
    assert said.code == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 KB, where one may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
def test_a_study_on_a_really_full_disk(small_disk: Path) -> None:
    write_spec(small_disk / "s.toml", meta_loops=300)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(80_000))
    said = run_process(small_disk, "study", "run", "s.toml", *STORE)
    assert is_a_world_fault(said), said
    assert no_temporary_files(small_disk)
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert finishes(small_disk)


AS_NOBODY = """
import importlib, json, os, pkgutil, pwd, sys
import antifragile, pandas
from pathlib import Path
from tests.cli.commands import run_here
here, scratch = Path.cwd(), Path(sys.argv[1])
warm = run_here(here, "study", "run", "s.toml", "--store", "sqlite://", "--files", scratch)
assert warm.code == 0, warm
pandas.DataFrame({"loads": ["the writer"]}).to_csv()
for module in pkgutil.walk_packages(antifragile.__path__, "antifragile."):
    if not module.name.split(".")[-1].startswith(
        ("__main__", "_kernel", "_noise", "gpu", "sitecustomize")
    ):
        importlib.import_module(module.name)
if os.geteuid() == 0:  # nobody may not read the interpreter, which is why all is loaded by now
    user = pwd.getpwnam("nobody")
    os.setgroups([]), os.setgid(user.pw_gid), os.setuid(user.pw_uid)
said = [run_here(here, *arguments) for arguments in json.loads(sys.argv[2])]
print(json.dumps([(one.code, one.out, one.err) for one in said]))
"""


def run_as_nobody(folder: Path, scratch: Path, *lines: tuple[object, ...]) -> list[Said]:
    """Run in a folder without the right to write there."""
    command = [sys.executable, "-c", AS_NOBODY, str(scratch), json.dumps(lines)]
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        command, cwd=folder, env=environment(scratch) | path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [Said(*said) for said in json.loads(done.stdout)]


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder with a spec and a store, where nobody may read and not write."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own are closed to other users
        folder = Path(name)
        write_spec(folder / "s.toml")
        assert finishes(folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield folder
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)


def test_a_read_only_folder(closed: Path, tmp_path: Path) -> None:
    before = contents(closed)
    expected = {
        ("study", "run", "s.toml", "--store", "new.db"): "cannot write .: Permission denied; free",
        (
            "study",
            "extend",
            *STORE,
            "--trials",
            3,
        ): "store runs.db cannot be used: attempt",
        ("study", "export", *STORE, "--out", "all.csv"): "cannot write .: Permission denied; free",
        TRIAL: "cannot write out: Permission denied; free space or choose a folder that can",
    }
    finished = (("study", "summary", *STORE), ("study", "run", "s.toml", *STORE))
    *failed, read, run = run_as_nobody(closed, tmp_path, *expected, *finished)
    for said, message in zip(failed, expected.values(), strict=True):
        assert is_a_world_fault(said), said
        assert f"error: {message}" in said.err
    assert read.code == 0, read.err
    assert run.code == 0, run.err
    assert "0 trials run" in run.out
    assert contents(closed) == before


@pytest.mark.slow
def test_a_dead_worker(tmp_path: Path) -> None:
    write_spec(tmp_path / "s.toml", meta_loops=30)
    process = start(tmp_path, *STUDY, "--workers", 2, "--checkpoint-every", 0)
    wait_for(lambda: n_records(tmp_path), process)
    victim, other = workers_of(process.pid)
    os.kill(victim, signal.SIGKILL)
    out, err = process.communicate(timeout=30)
    said = Said(process.returncode, out, err)
    assert is_a_world_fault(said), said
    assert "error: a worker process died (killed, or out of memory); finished work is" in said.err
    wait_until_gone([other])
    assert no_temporary_files(tmp_path)
    again = run_here(tmp_path, *STUDY, "--workers", 2)
    assert again.code == 0, again.err
    assert n_records(tmp_path) == 8 * 30
