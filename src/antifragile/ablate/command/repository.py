"""The files of a user's repository that decide what a command computes, with their hashes.

Under git these are the files that it tracks or would track; else all but caches, environments and
variants. Texts for people (`.md`, `.rst`), `.gitignore`, and what we wrote ourselves (the spec and
the file that builds the model, logs, reports) decide nothing unless a run opens them; what a run
reads beside these files is found out by watching it.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from antifragile._files import sha256_of
from antifragile.ablate.command.overlay import files_below, is_skipped
from antifragile.ablate.command.written import WrittenFiles
from antifragile.errors import UsageError

LARGE = 8 * 2**20  # bytes; larger files go by size and time of the last change
ENTRY = "_entry.py"  # at the end of the name of the file that builds the model
SEAL = "# Written by 'antifragile ablate'; hash of the lines above: "  # its last line, before that
_STORES = (".db", ".db-wal", ".db-shm", ".db-journal")
_FOR_PEOPLE = (".md", ".rst")
_FOR_GIT = ".gitignore"  # else whoever lists a file there, to go on, has all runs anew
_MOST_FILES = 20_000
_BLOCK = 4096  # bytes that programs write at a time, but for whole lines


def hashes_of(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file, or its size and time where it is large, by its path.

    Raises:
        UsageError: There are more than 20,000.
    """
    found: dict[str, str] = {}
    files = list(_files(root))
    ours = {own for path in files if path.name.endswith(ENTRY) for own in _written_with(path)}
    written = WrittenFiles()
    for path in files:
        is_idle = path.suffix in (*_STORES, *_FOR_PEOPLE) or path.name == _FOR_GIT
        if is_idle or path in ours or written.is_log(path):
            continue
        if not written.is_report(value := hash_of(path)):
            found[path.relative_to(root).as_posix()] = value
        if len(found) > _MOST_FILES:
            raise UsageError(
                f"{root} holds more than {_MOST_FILES:,} files, which are hashed before a study; "
                "start the command in the folder of the code, or list its data in .gitignore."
            )
    return found


def _written_with(entry: Path) -> tuple[Path, ...]:
    """The file that builds the model, its inputs and the spec, where it is of ours."""
    if SEAL not in entry.read_text(encoding="utf-8", errors="replace"):
        return ()
    spec = entry.with_name(entry.name.removesuffix(ENTRY) + ".toml")
    return entry, entry.with_suffix(".safetensors"), spec


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, or its size and time where it is large."""
    status = path.stat()
    if status.st_size < LARGE:
        return sha256_of(path)
    return f"{status.st_size} bytes of {status.st_mtime_ns}"


def has_grown(path: Path, before: str) -> bool:
    """Whether a file is what it was and more behind that, as a log is.

    Args:
        path: The file.
        before: Its hash by `hash_of`, then.
    """
    size, _, is_large = before.partition(" bytes of ")
    if is_large:
        return path.stat().st_size > int(size)
    with path.open("rb") as file:
        content = file.read(LARGE)
    ends = {match.end() for match in re.finditer(rb"\n", content)}
    digest, last = hashlib.sha256(), 0
    for end in sorted(ends | set(range(0, len(content), _BLOCK))):
        digest.update(content[last:end])
        last = end
        if digest.hexdigest() == before:
            return True
    return False


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
