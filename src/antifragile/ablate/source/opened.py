"""The files that a user's code opened for reading: what it computes depends on them too.

Python tells of every file that it opens itself, in forks as well. Not seen are files that a C
library opens by its own means (HDF5, say), and those that a program reads.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from antifragile._files import sha256_of
from antifragile.errors import UsageError

_MOST_NOTED_BYTES = 2**24  # of what a run's own process wrote
_is_building = False  # in this process, a model is under construction
_SKIPPED = {"__pycache__", "node_modules", "site-packages", "dist-packages"}


def note_opened(notes: Path, folders: Mapping[Path, str]) -> None:
    """Note from now on which files below some folders are opened in this process and its forks.

    Args:
        notes: The file that takes the notes.
        folders: A name for each folder; empty where what lies below is of no interest.
    """
    descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    deepest = sorted(((str(path), name) for path, name in folders.items()), reverse=True)
    seen: set[tuple[str, bool, bool]] = set()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], str | os.PathLike):
            return
        with suppress(OSError, ValueError, TypeError):
            path = os.path.abspath(os.fspath(arguments[0]))
            is_read = arguments[2] & os.O_ACCMODE == os.O_RDONLY
            what = path, is_read, _is_building
            if what in seen or not (os.path.isfile(path) or not is_read):
                return
            seen.add(what)
            folder, name = next(
                (pair for pair in deepest if path.startswith(pair[0] + os.sep)), ("", "")
            )
            if name:
                line = json.dumps([name, os.path.relpath(path, folder), *what[1:]])
                os.write(descriptor, line.encode() + b"\n")

    sys.addaudithook(note)


@contextmanager
def building() -> Iterator[None]:
    """Say of the files that are opened inside that the model is made of them."""
    global _is_building
    _is_building, before = True, _is_building
    try:
        yield
    finally:
        _is_building = before


class ReadFiles:
    """The files that runs read, by names like ``model:config.json``.

    Args:
        folders: A folder by the name that `note_opened` gave it, or what it is a copy of.
        known: The files in each that are known otherwise.
        certified: Hashes of the files that were beside the model when it was certified, by name.
        hash_of: Makes a hash of a file.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        known: Mapping[str, Collection[str]],
        certified: Mapping[str, str],
        hash_of: Callable[[Path], str] = sha256_of,
    ) -> None:
        self._hash_of = hash_of
        self._folders, self._known, self._certified = folders, known, certified
        self._first: dict[str, tuple[str, float]] = {}  # hashes, and times of the last change

    def sha256(self, name: str) -> str:
        """Hash of a file as it was when it was first asked for; empty where there is none."""
        if name not in self._first:
            path = self._path(name)
            changed = path.stat().st_mtime if path.is_file() else 0.0
            self._first[name] = self._hash_of(path) if changed else "", changed
        return self._first[name][0]

    def read_in_run(self, notes: Path, seconds: float) -> set[str]:
        """The names of the files that a run read, which has just ended after so many seconds.

        Raises:
            UsageError: One was changed meanwhile, or the model is made of it and it is not as it
                was certified.
        """
        opened = {
            f"{folder}:{path}": is_of_model
            for (folder, path), is_of_model in _opened(notes).items()
            if path not in self._known.get(folder, (path,))
        }
        names = {name for name in opened if self._path(name).is_file()}
        began = time.time() - seconds
        for name in sorted(names):
            is_new, path = name not in self._first, self._path(name)
            self.sha256(name)
            changed = self._first[name][1]
            if path.stat().st_mtime != changed or (is_new and changed > began):
                raise UsageError(
                    f"{path} was changed while the study ran, which reads it; run again for the "
                    "new file."
                )
            if opened[name] and self._certified.get(name, self.sha256(name)) != self.sha256(name):
                raise UsageError(
                    f"the model reads {name.partition(':')[2]}, which was changed after the "
                    "variants were certified; put it back, or run 'antifragile ablate generate' "
                    "again."
                )
        return names

    def _path(self, name: str) -> Path:
        folder, _, path = name.partition(":")
        return self._folders[folder] / path


def _opened(notes: Path) -> dict[tuple[str, str], bool]:
    """Read which files, by folder and path, were read and not written, and if by the model.

    Caches, hidden folders and installed packages are left out.
    """
    read, written = dict[tuple[str, str], bool](), set[tuple[str, str]]()
    if notes.is_symlink() or not notes.is_file():
        return {}
    with notes.open("rb") as file:
        lines = file.read(_MOST_NOTED_BYTES).splitlines()
    for line in lines:
        with suppress(ValueError, TypeError, RecursionError):
            name, path, is_read, is_of_model = json.loads(line)
            key = str(name), PurePosixPath(str(path)).as_posix()
            if not is_read:
                written.add(key)
            elif not _is_skipped(PurePosixPath(key[1])):
                read[key] = read.get(key, False) or bool(is_of_model)
    return {key: is_of_model for key, is_of_model in read.items() if key not in written}


def _is_skipped(path: PurePosixPath) -> bool:
    inside = ".." not in path.parts and not path.is_absolute()
    return not inside or any(p in _SKIPPED or p.startswith(".") for p in path.parts[:-1])
