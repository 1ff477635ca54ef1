"""Files of a user's repository that antifragile wrote itself: logs and reports.

They decide no numbers, unless a run opens them. A log takes what this process prints, by itself or
by a program at the other end of a pipe (``| tee ablation.log``); later it is known by its path and
inode. A report is known by its content. Both are remembered in this user's cache; where that is
lost, they count as other files do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import platformdirs

from antifragile._files import sha256_of

_OUTPUTS = (1, 2)  # descriptors


def remember_report(path: Path) -> None:
    """Remember what was written to a path of the user's."""
    if path.is_file() and path.stat().st_size:  # no device, and nothing that an empty file is
        _remember(sha256_of(path))


class WrittenFiles:
    """The files that were written by now, by this process or an earlier one of the user."""

    def __init__(self) -> None:
        self._logs, self._remembered = set(_logs()), _all_remembered()

    def is_log(self, path: Path) -> bool:
        """Whether a file takes what this process prints, or took what an earlier one printed."""
        status = path.stat()
        entry = f"{status.st_ino} {path.resolve()}"
        if (status.st_dev, status.st_ino) in self._logs and entry not in self._remembered:
            self._remembered.add(entry)
            _remember(entry)
        return entry in self._remembered

    def is_report(self, sha256: str) -> bool:
        """Whether this is the hash of a report."""
        return sha256 in self._remembered


def _logs() -> Iterator[tuple[int, int]]:
    """Device and inode of each file that takes what this process prints."""
    for output in _OUTPUTS:
        with suppress(OSError):  # it is closed
            status = os.fstat(output)
            if stat.S_ISREG(status.st_mode):
                yield status.st_dev, status.st_ino
            elif stat.S_ISFIFO(status.st_mode):
                yield from _written_behind(f"pipe:[{status.st_ino}]")


def _written_behind(pipe: str) -> Iterator[tuple[int, int]]:
    """Device and inode of each file that a process which reads a pipe writes and cannot read."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it is another user's, or has ended
            ends = list((process / "fd").iterdir())
            if any(os.readlink(end) == pipe and _rights(end) & stat.S_IRUSR for end in ends):
                written = [end.stat() for end in ends if not _rights(end) & stat.S_IRUSR]
                yield from ((s.st_dev, s.st_ino) for s in written if stat.S_ISREG(s.st_mode))


def _rights(end: Path) -> int:
    """Rights with which a process has opened a file: those of its link below /proc."""
    return end.lstat().st_mode


def _place() -> Path:
    return platformdirs.user_cache_path("antifragile") / "written.txt"


def _all_remembered() -> set[str]:
    try:
        return set(_place().read_text(encoding="utf-8", errors="surrogateescape").split("\n"))
    except OSError:
        return set()


def _remember(entry: str) -> None:
    with suppress(OSError):
        _place().parent.mkdir(parents=True, exist_ok=True)
        with _place().open("ab", buffering=0) as file:
            file.write(entry.encode(errors="surrogateescape") + b"\n")
