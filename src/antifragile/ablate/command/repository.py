"""The files of a user's repository that decide what a command computes, with their hashes.

Under git these are the files that it tracks or would track; else all but caches, environments and
variants. What a run reads beside them is found out by watching it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from antifragile._files import sha256_of
from antifragile.ablate.command.overlay import files_below, is_skipped
from antifragile.errors import UsageError

LARGE = 8 * 2**20  # bytes; larger files go by size and time of the last change
_STORES = (".db", ".db-wal", ".db-shm", ".db-journal")
_MOST_FILES = 20_000


def hashes_of(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file, or its size and time where it is large, by its path.

    Raises:
        UsageError: There are more than 20,000.
    """
    found: dict[str, str] = {}
    for path in _files(root):
        if path.suffix in _STORES:
            continue
        found[path.relative_to(root).as_posix()] = hash_of(path)
        if len(found) > _MOST_FILES:
            raise UsageError(
                f"{root} holds more than {_MOST_FILES:,} files, which are hashed before a study; "
                "start the command in the folder of the code, or list its data in .gitignore."
            )
    return found


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, or its size and time where it is large."""
    status = path.stat()
    if status.st_size < LARGE:
        return sha256_of(path)
    return f"{status.st_size} bytes of {status.st_mtime_ns}"


def _files(root: Path) -> Iterator[Path]:
    listed = _listed_by_git(root)
    if listed is None:
        yield from files_below(str(root))
        return
    skipped = {root: False}

    def is_below_skipped(folder: Path) -> bool:
        if folder not in skipped:
            skipped[folder] = is_below_skipped(folder.parent) or is_skipped(folder)
        return skipped[folder]

    for path in listed:
        if path.is_file() and not is_below_skipped(path.parent):
            yield path


def _listed_by_git(root: Path) -> list[Path] | None:
    """List what git tracks or would track; None without git."""
    if not (root / ".git").exists():
        return None
    words = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(words, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    names = done.stdout.decode(errors="surrogateescape").split("\0")
    return [root / name for name in sorted(set(names)) if name]
