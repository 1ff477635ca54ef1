"""The files that a user's code opened for reading: what it computes depends on them too.

Python tells of every file that it opens itself, in forks as well. Not seen are files that a C
library opens by its own means (HDF5, say), and those that a program reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from antifragile.errors import UsageError

_SKIPPED = {"__pycache__", "node_modules", "site-packages", "dist-packages"}


def note_opened(notes: Path, folders: Mapping[Path, str]) -> None:
    """Note from now on which files below some folders are opened in this process and its forks.

    Args:
        notes: The file that takes the notes.
        folders: A name for each folder; empty where what lies below is of no interest.
    """
    descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    deepest = sorted(((str(path), name) for path, name in folders.items()), reverse=True)
    seen: set[tuple[str, bool]] = set()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], str | os.PathLike):
            return
        with suppress(OSError, ValueError, TypeError):
            path = os.path.abspath(os.fspath(arguments[0]))
            is_read = arguments[2] & os.O_ACCMODE == os.O_RDONLY
            if (path, is_read) in seen or not (os.path.isfile(path) or not is_read):
                return
            seen.add((path, is_read))
            folder, name = next(
                (pair for pair in deepest if path.startswith(pair[0] + os.sep)), ("", "")
            )
            if name:
                line = json.dumps([name, os.path.relpath(path, folder), is_read])
                os.write(descriptor, line.encode() + b"\n")

    sys.addaudithook(note)


class ReadFiles:
    """The files that runs read, by names like ``model:config.json``.

    Args:
        folders: A folder by the name that `note_opened` gave it, or what it is a copy of.
        known: The files in each that are known otherwise.
    """

    def __init__(self, folders: Mapping[str, Path], known: Mapping[str, Collection[str]]) -> None:
        self._folders, self._known = folders, known
        self._first: dict[str, tuple[str, float]] = {}  # hashes, and times of the last change

    def sha256(self, name: str) -> str:
        """Hash of a file as it was when it was first asked for; empty where there is none."""
        if name not in self._first:
            path = self._path(name)
            changed = path.stat().st_mtime if path.is_file() else 0.0
            content = hashlib.sha256(path.read_bytes()).hexdigest() if changed else ""
            self._first[name] = content, changed
        return self._first[name][0]

    def read_in_run(self, notes: Path, seconds: float) -> set[str]:
        """The names of the files that a run read, which has just ended after so many seconds.

        Raises:
            UsageError: One was changed meanwhile.
        """
        names = {
            f"{folder}:{path}"
            for folder, path in _opened(notes)
            if path not in self._known.get(folder, (path,))
        }
        names, began = {name for name in names if self._path(name).is_file()}, time.time() - seconds
        for name in sorted(names):
            is_new, path = name not in self._first, self._path(name)
            self.sha256(name)
            changed = self._first[name][1]
            if path.stat().st_mtime != changed or (is_new and changed > began):
                raise UsageError(
                    f"{path} was changed while the study ran, which reads it; run again for the "
                    "new file."
                )
        return names

    def _path(self, name: str) -> Path:
        folder, _, path = name.partition(":")
        return self._folders[folder] / path


def _opened(notes: Path) -> set[tuple[str, str]]:
    """Read the name of the folder and the path of each file that was read and not written.

    Caches, hidden folders and installed packages are left out.
    """
    read, written = set[tuple[str, str]](), set[tuple[str, str]]()
    lines = [] if notes.is_symlink() or not notes.is_file() else notes.read_bytes().splitlines()
    for line in lines:
        with suppress(ValueError, TypeError):
            name, path, is_read = json.loads(line)
            (read if is_read else written).add((str(name), PurePosixPath(str(path)).as_posix()))
    return {(name, path) for name, path in read - written if not _is_skipped(PurePosixPath(path))}


def _is_skipped(path: PurePosixPath) -> bool:
    inside = ".." not in path.parts and not path.is_absolute()
    return not inside or any(p in _SKIPPED or p.startswith(".") for p in path.parts[:-1])
