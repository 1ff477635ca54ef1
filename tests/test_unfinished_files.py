"""Unfinished files of killed processes are removed by the next write; those of others are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from antifragile._files import write_atomically

STOPS = """\
import os, signal, sys
from pathlib import Path
from antifragile import _files
os.fsync = lambda _: os.kill(os.getpid(), getattr(signal, sys.argv[2]))
_files.write_atomically(Path(sys.argv[1]), b"never")
"""


def stopped(path: Path, name: str) -> subprocess.Popen[bytes]:
    """A process that gets a signal while it writes a file."""
    process = subprocess.Popen([sys.executable, "-c", STOPS, str(path), name])
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return process


def hidden(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*"))


def make_old(folder: Path) -> None:
    for path in hidden(folder):
        os.utime(path, (1e9, 1e9))


def test_what_a_killed_process_left_is_removed_by_the_next_write(tmp_path: Path) -> None:
    assert stopped(tmp_path / "page.html", "SIGKILL").wait() == -signal.SIGKILL
    [left] = hidden(tmp_path)
    assert left.read_bytes() == b"never"
    make_old(tmp_path)
    write_atomically(tmp_path / "another.html", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["another.html"]


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    process = stopped(tmp_path / "page.html", "SIGSTOP")
    try:
        make_old(tmp_path)
        write_atomically(tmp_path / "another.html", b"whole")
        assert len(hidden(tmp_path)) == 1
    finally:
        process.send_signal(signal.SIGCONT)
    assert process.wait(30) == 0
    assert (tmp_path / "page.html").read_bytes() == b"never"
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("name", [".notes.tmp", ".a.0123456789abcde.tmp", "a.0123456789abcdef.tmp"])
def test_a_file_of_the_users_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    os.utime(tmp_path / name, (1e9, 1e9))
    write_atomically(tmp_path / "another.html", b"whole")
    assert (tmp_path / name).read_text() == "mine"


def test_what_was_begun_a_moment_ago_stays(tmp_path: Path) -> None:
    (tmp_path / ".a.0123456789abcdef.tmp").touch()
    write_atomically(tmp_path / "another.html", b"whole")
    assert len(hidden(tmp_path)) == 1
