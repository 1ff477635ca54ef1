"""Copies of a model's files in which children run, so that they may spoil what they like.

Discovery, certification and studies run in one and the same kind of copy: the project's Python
files and the data beside them, with the files of a variant written over them where one is measured.

    project -> `open_copies` -> original (never run) -> `fill`, in the child -> one copy per job

All files below the project's root are taken up to a number and a size; of a larger tree those that
lie in the folders of the model's files, and if these are still too many, the model's files alone,
which `Copies.note` says. Version control, virtual environments, caches and folders of variants are
left out. A large data file is a link to the user's where the kernel keeps children from writing to
it (see `confinement`), and counts as a small one.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from antifragile._files import sha256_of
from antifragile.ablate.sandbox.confinement import kernel_confines
from antifragile.ablate.sandbox.limits.trees import scratch_folder
from antifragile.ablate.source.project import installed_package, package_top

MOST_FILES, MOST_BYTES = 2000, 64 * 2**20
_MOST_ENTRIES = 20_000  # looked at before a tree is called large
_LINKED_FROM = 2**20  # bytes
_SKIPPED = {"__pycache__", "node_modules", "site-packages", "dist-packages"}
_MARKS = ("pyvenv.cfg", "conda-meta", "ablations.json")  # of environments and of our own output


@dataclass(frozen=True, kw_only=True)
class Copies:
    """A project's files as they were, and places for copies of them.

    Args:
        folder: A scratch folder that holds nothing else.
        note: A sentence about files that were left behind; empty where none were.
    """

    folder: Path
    note: str = ""
    _numbers: Iterator[int] = field(default_factory=lambda: count(1), repr=False)

    @property
    def original(self) -> Path:
        """The files as they were; nothing runs here."""
        return self.folder / "original"

    def new_place(self) -> Path:
        """A folder for one job, which makes it itself."""
        return self.folder / str(next(self._numbers))

    def add_needed(self, root: Path, files: Iterable[str]) -> None:
        """Add files below another root, by the same relative path."""
        _put_all(root, files, self.original)

    def add_data(self, folder: Path) -> None:
        """Add the data files and folders of another folder whose names are still free.

        Paths relative to that folder then lead to them; code is not added, nor what `open_copies`
        leaves out.
        """
        size = 0
        for entry in _entries(folder):
            path, target = Path(entry.path), self.original / entry.name
            if not _is_taken(entry) or _is_code(path) or target.exists():
                continue
            size += _bytes_of(entry)
            with suppress(OSError):  # not ours to read
                if size > MOST_BYTES:
                    target.symlink_to(path.resolve())
                else:
                    _put(path, target, links=kernel_confines())


@contextmanager
def open_copies(root: Path, needed: Sequence[str], *, with_data: bool = True) -> Iterator[Copies]:
    """Take the files of a project as they are now.

    Args:
        root: The project's root.
        needed: Its Python files, relative to the root.
        with_data: Whether to take the other files below the root too.
    """
    with scratch_folder("antifragile-copies-") as folder:
        yield Copies(folder=folder, note=_take(root, needed, folder / "original", with_data))


def fill(folder: Path, sources: Iterable[str]) -> None:
    """Make a copy of folders, later ones over earlier ones; a confined process may do it too."""
    for source in sources:
        for here, folders, files in os.walk(source):
            target = folder / os.path.relpath(here, source)
            if target.is_symlink():  # of an earlier folder; what it leads to is not ours
                target.unlink()
            target.mkdir(parents=True, exist_ok=True)
            for name in (*folders, *files):
                _copy_entry(Path(here, name), target / name)


def _copy_entry(path: Path, target: Path) -> None:
    """Copy a file or a link; folders are left to the caller."""
    if target.is_symlink():
        target.unlink()
    if path.is_symlink():
        target.unlink(missing_ok=True)
        target.symlink_to(os.readlink(path))
    elif path.is_file():
        _copy_writable(str(path), str(target))


def _take(root: Path, needed: Sequence[str], target: Path, with_data: bool) -> str:
    """Copy or link a project's files; return a sentence about what is left behind."""
    target.mkdir()
    _put_all(root, needed, target)
    if not with_data:
        return ""
    found, left = _data_of(root, needed)
    for path in found:
        with suppress(OSError):  # not ours to read
            _put(path, target / path.relative_to(root), links=kernel_confines())
    return f"{left}: {root} holds more than {MOST_FILES:,} files or 64 MiB." if left else ""


def _data_of(root: Path, needed: Sequence[str]) -> tuple[list[Path], str]:
    """The files that are copied beside the needed ones, and a clause about those left behind."""
    beside = {(root / file).parent for file in needed}
    attempts = (
        (_tops(root, needed), True, ""),
        (beside, False, "only the files beside the model's are copied for its runs"),
    )
    for folders, is_deep, left in attempts:
        with suppress(_TooLarge):
            return list(_files_below(folders, is_deep=is_deep)), left
    return [], "no data file is copied for the model's runs"


def _tops(root: Path, needed: Sequence[str]) -> set[Path]:
    """The folders whose data are the model's: of an installed package's files none are."""
    files = [root / file for file in needed]
    own = [path for path in files if installed_package(path) is None]
    return {root} if len(own) == len(files) else {package_top(path) for path in own}


def data_hashes(root: Path, needed: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of every file below 1 MiB that is copied beside the needed ones.

    Args:
        root: The project's root.
        needed: Its Python files, relative to the root.
    """
    found: dict[str, str] = {}
    for path in _data_of(root, needed)[0]:
        name = path.relative_to(root).as_posix()
        with suppress(OSError):  # a folder, or not ours to read
            if name not in needed and path.stat().st_size < _LINKED_FROM:
                found[name] = sha256_of(path)
    return found


class _TooLarge(Exception):
    """Raised when a tree has more than is copied."""


def _files_below(folders: Iterable[Path], *, is_deep: bool) -> Iterator[Path]:
    """Yield files, and links to folders, level by level.

    Raises:
        _TooLarge: There are too many.
    """
    queue, seen, taken, size = list(folders), 0, 0, 0
    while queue:
        for entry in _entries(queue.pop(0)):
            seen += 1
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder and is_deep and not _is_skipped(Path(entry.path)):
                queue.append(Path(entry.path))
            if not is_folder and _is_taken(entry):
                taken, size = taken + 1, size + _bytes_of(entry)
                yield Path(entry.path)
            if taken > MOST_FILES or size > MOST_BYTES or seen > _MOST_ENTRIES:
                raise _TooLarge


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []


def _is_skipped(folder: Path) -> bool:
    is_hidden = folder.name.startswith(".") or folder.name in _SKIPPED
    return is_hidden or is_marked(folder)


def is_marked(folder: Path) -> bool:
    """Whether a folder is an environment of Python, or variants of ours."""
    return any(os.path.exists(folder / mark) for mark in _MARKS)  # false where it is not ours


def _is_code(path: Path) -> bool:
    """Whether it is a module, a package, or a folder that is left out."""
    if path.is_dir():
        return _is_skipped(path) or (path / "__init__.py").exists()
    return path.suffix == ".py"


def _is_taken(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link to a file or folder that is there."""
    try:
        mode = entry.stat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _bytes_of(entry: os.DirEntry[str]) -> int:
    size = entry.stat().st_size
    is_linked = size >= _LINKED_FROM and kernel_confines() and not entry.name.endswith(".py")
    return 0 if is_linked or entry.is_dir() else size


def _put(path: Path, target: Path, *, links: bool) -> None:
    """Copy a file, or link to it where it is a large file or a folder."""
    if target.exists() or target.is_symlink():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    is_large = path.suffix != ".py" and path.stat().st_size >= _LINKED_FROM
    if path.is_dir() or (links and is_large):
        target.symlink_to(path.resolve())
    else:
        _copy_writable(str(path), str(target))


def _put_all(root: Path, files: Iterable[str], target: Path) -> None:
    """Copy those files below a root that are there."""
    for file in files:
        if (root / file).is_file():
            _put(root / file, target / file, links=False)


def _copy_writable(source: str, target: str) -> str:
    """Copy a file and the rights to it, and allow its owner to write the copy."""
    shutil.copyfile(source, target)
    os.chmod(target, stat.S_IMODE(os.stat(source).st_mode) | stat.S_IWUSR)
    return target
