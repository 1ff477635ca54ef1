"""Files that survive a kill: at any moment they hold the old content or the new, no mixture."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from errno import EACCES
from functools import cache
from pathlib import Path
from typing import BinaryIO

from antifragile._shown import is_address
from antifragile.errors import UsageError, WorldError

_TEMPORARY = ".tmp"
_SQLITE = b"SQLite format 3\0"
_OURS = re.compile(rf"\..+\.[0-9a-f]{{16}}{re.escape(_TEMPORARY)}")


def safe_name(text: str, *, also: str = "", at_most: int | None = None) -> str:
    """Turn a text into a part of a file name; may be empty.

    Args:
        text: Any text.
        also: Characters kept beside ASCII letters and digits; runs of others become a hyphen.
        at_most: Length to cut it to; None keeps all.
    """
    return re.sub(rf"[^A-Za-z0-9{re.escape(also)}]+", "-", text).strip("-.")[:at_most]


def write_atomically(path: Path, content: bytes | Iterable[bytes], *, durable: bool = True) -> None:
    """Write ``content`` to a temporary file beside ``path``, flush it to disk, rename it.

    The first write of a process into a folder removes what killed processes left unfinished there.

    Args:
        path: The file.
        content: Its bytes, or parts of them one after another.
        durable: Wait for the disk before the rename, so that it survives a power cut as well.

    Raises:
        UsageError: ``path`` is a folder or an address, or its parent is a file.
        WorldError: The folder cannot be written, the disk is full, a limit is reached.
    """
    _refuse_address(path)
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the path of a file.")
    make_folder(path.parent)
    _sweep(path.parent.absolute())
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            hold(file)
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _cannot_write(path, error) from error
        raise


def write_output(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write to a path that a user named: a file whole or not at all, a device or pipe as it is.

    A link is followed. Unlike what we name ourselves, the path may be of something else.

    Args:
        path: A file that may be replaced, a new one, a device or a pipe.
        content: Its bytes, or parts of them one after another.

    Raises:
        UsageError: As `write_atomically`, or it is a database, which no output replaces.
        WorldError: It cannot be written.
    """
    if not path.exists() or path.is_file() or path.is_dir():
        if _is_database(path):
            raise UsageError(f"{path} is a database, perhaps a store; choose another file.")
        write_atomically(path.resolve() if path.is_symlink() else path, content)
        return
    try:
        with path.open("wb") as stream:
            stream.writelines([content] if isinstance(content, bytes) else content)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _cannot_write(path, error) from error


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:  # it is not there, or a folder; whoever writes it says more
        return False


@cache
def _sweep(folder: Path) -> None:
    """Remove unfinished files that nobody writes; once in a process."""
    for path in _unfinished_files(folder):
        with suppress(OSError), path.open("rb") as file:
            age_s = time.time() - os.fstat(file.fileno()).st_mtime
            if age_s > 1 and hold(file):  # a younger one may be about to be held
                path.unlink()


def _unfinished_files(folder: Path) -> list[Path]:
    """Temporary files whose names are ours."""
    return [path for path in folder.glob(f".*{_TEMPORARY}") if _OURS.fullmatch(path.name)]


def hold(file: BinaryIO | int) -> bool:
    """Hold an open file or folder until it is closed or its process ends; False if another does.

    Where a file system knows no such locks nobody holds any, and nothing is removed.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def move(path: Path, to: Path, *, below: int | None = None, to_below: int | None = None) -> None:
    """Give a file or folder another name on the same file system, in one step.

    Args:
        path: The file or folder.
        to: Its new name; a file that has it is replaced.
        below: Descriptor of the folder that `path` is relative to; None for the current one.
        to_below: The same for `to`.
    """
    os.replace(path, to, src_dir_fd=below, dst_dir_fd=to_below)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> None:
    """Make a folder and its parents, or do nothing when it is there and can be written.

    Raises:
        UsageError: There is a file on the way.
        WorldError: It cannot be made, or written to.
    """
    check_folder_path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise _cannot_write(path, PermissionError(EACCES, os.strerror(EACCES)))


def remove_temporary_files(folder: Path) -> None:
    """Remove unfinished files of killed processes; call it only while no process writes there."""
    for path in _unfinished_files(folder):
        path.unlink(missing_ok=True)


def check_folder_path(path: Path) -> None:
    """Refuse a path that cannot become a folder, without making anything.

    Raises:
        UsageError: There is a file on the way, or it is an address, which may hold a password.
    """
    _refuse_address(path)
    for place in (path, *path.parents):
        if os.path.exists(place) and not os.path.isdir(place):
            raise UsageError(f"{place} cannot be a folder, there is a file; choose another.")


def _refuse_address(path: Path) -> None:
    """Refuse an address as a path, without repeating it: it may hold a password."""
    if is_address(str(path)):
        raise UsageError(
            "an output path is an address; give the path of a file or folder on this machine, and "
            "an address as --store."
        )


def _cannot_write(path: Path, error: OSError) -> WorldError:
    return WorldError(
        f"cannot write {path}: {error.strerror or error}; free space or choose a folder "
        "that can be written, then run the same command again."
    )
