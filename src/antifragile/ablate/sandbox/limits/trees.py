"""Trees of files that others' code has made: how much they take, and their removal.

Folders in them may be nested deeper than a path can say, or forbid their owner to look into them.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from pathlib import Path

from antifragile._files import hold, move

_MOST_ENTRIES = 200_000  # files and folders; each takes an inode of the disk
_PAUSES_S = (0.0, 0.1, 0.5, 2.0)
_NEW_S = 60.0  # the age of a folder whose process may not hold it yet
_TO_LOOK, _TO_CHANGE = 0o500, 0o700
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def bytes_below(folders: Iterable[str], most: int) -> int:
    """Bytes that files below some folders take, until it is clear that they are too many.

    More than 200,000 files and folders count as too many bytes, and so does a folder that cannot be
    looked into: its path is too long for the system, or it is closed again and again.
    """
    try:
        return _counted(list(folders), most)
    except OSError:
        return most + 1


def _counted(queue: list[str], most: int) -> int:
    size = entries = 0
    while queue and size <= most and entries <= _MOST_ENTRIES:
        with suppress(FileNotFoundError, NotADirectoryError):  # gone meanwhile
            place = queue.pop()
            _allow(place, None, _TO_LOOK)
            with os.scandir(place) as found:
                for entry in islice(found, _MOST_ENTRIES + 1 - entries):
                    entries += 1
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        size += status.st_blocks * 512
                        if stat.S_ISDIR(status.st_mode):
                            queue.append(entry.path)
    return size if entries <= _MOST_ENTRIES else most + 1


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Make a temporary folder that others' code may write in; it is gone at the end.

    Its process holds it; those that nobody holds, as their process was killed, are removed too.

    Args:
        prefix: The first part of its name.
    """
    _sweep(prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
    descriptor = os.open(folder, _FOLDER)
    try:
        hold(descriptor)
        yield folder
    finally:
        remove_tree(folder)
        os.close(descriptor)


@cache
def _sweep(prefix: str) -> None:
    """Remove the user's temporary folders that nobody holds; once in a process."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            descriptor = os.open(folder, _FOLDER)
            try:
                found = os.fstat(descriptor)
                is_new = time.time() - found.st_mtime < _NEW_S
                if found.st_uid == os.geteuid() and not is_new and hold(descriptor):
                    remove_tree(folder)
            finally:
                os.close(descriptor)


def remove_tree(folder: str | os.PathLike[str]) -> None:
    """Remove a folder with all below it; what resists stays, and raises nothing.

    A process that is about to end may write into it for a moment.
    """
    for pause_s in _PAUSES_S:
        time.sleep(pause_s)
        with suppress(OSError):
            top = _opened(folder, None)
            try:
                _empty(top)
            finally:
                os.close(top)
            os.rmdir(folder)
        if not os.path.isdir(folder):
            return


def _empty(top: int) -> None:
    """Remove all below a folder; each folder deeper down is moved up into it first."""
    mark, left = secrets.token_hex(8), _without_files(top)
    for name in left:  # which grows
        with suppress(OSError):
            folder = _opened(name, top)
            try:
                for inner in _without_files(folder):
                    lifted = f"{mark}-{len(left)}"
                    with suppress(OSError):
                        _allow(inner, folder, _TO_CHANGE)
                        move(Path(inner), Path(lifted), below=folder, to_below=top)
                        left.append(lifted)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)


def _without_files(folder: int) -> list[str]:
    """Remove the files of a folder; the names of the folders in it."""
    found = []
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            found.append(entry.name)
        else:
            with suppress(OSError):
                os.unlink(entry.name, dir_fd=folder)
    return found


def _entries(folder: int) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return list(found)


def _opened(path: str | os.PathLike[str], above: int | None) -> int:
    """Open a folder, below another or not, that its owner may then change."""
    _allow(path, above, _TO_CHANGE)
    return os.open(path, _FOLDER, dir_fd=above)


def _allow(path: str | os.PathLike[str], above: int | None, rights: int) -> None:
    """Give the owner of a folder rights to it; a link that took its place is not followed."""
    mode = stat.S_IMODE(os.stat(path, dir_fd=above, follow_symlinks=False).st_mode)
    if mode & rights == rights:
        return
    if sys.platform != "linux":
        os.chmod(path, mode | rights, dir_fd=above, follow_symlinks=False)
        return
    place = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
    try:
        os.chmod(f"/proc/self/fd/{place}", mode | rights)
    finally:
        os.close(place)
