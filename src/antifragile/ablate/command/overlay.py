"""The user's whole repository with some files edited, as a run sees it, and nothing of it changed.

overlay   on Linux, in namespaces of the run's own: the edited files lie over the repository at its
own path, so that absolute paths, ``resolve()`` and editable installs lead to them too; what the run
writes goes to a folder of its own. A file outside the repository, of an installed package, is
covered by its edited copy.
copy      elsewhere: a real copy, in which the run is started; paths that lead to the repository
itself find the unedited files there, which the run's proof finds out, and may not write (see
`startup.fence`, and for native code `sandbox.limits.landlock`).
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from antifragile.ablate.sandbox.copies import is_marked
from antifragile.ablate.sandbox.limits import kernel, namespaces
from antifragile.ablate.sandbox.loading import Refusal
from antifragile.errors import UsageError

MOST_COPIED = 4 * 2**30
_SKIPPED = {".git", "__pycache__", "node_modules", ".venv", ".tox", ".mypy_cache", ".ruff_cache"}
KEPT_BESIDE = ".db.files"  # end of the name of a folder beside a store, with all runs' output
_LISTS = ",:\\"  # what the mount's options cannot hold as it is


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A repository and the files that are edited.

    Args:
        repository: Its root, absolute.
        edited: The file that takes the place of each edited one, both absolute.
        open_folders: Folders in which the run's writes stay, absolute.
    """

    repository: str
    edited: Mapping[str, str]
    open_folders: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Entered:
    """The repository as this process sees it now.

    Args:
        root: Where its root lies.
        repository: Where it lies outside.
        edited: Real path of each edited file now, by its path outside.
    """

    root: str
    repository: str
    edited: Mapping[str, str] = field(default_factory=dict)

    def path(self, outside: str) -> str:
        """Where a path of outside lies now."""
        if outside == self.repository or outside.startswith(self.repository + os.sep):
            return self.root + outside[len(self.repository) :]
        return outside

    def outside(self, path: str) -> str:
        """Where a path of now lies outside."""
        root = os.path.realpath(self.root)
        if path.startswith(root + os.sep):
            return self.repository + path[len(root) :]
        return path


def can_mount(repository: str, scratch: Path) -> bool:
    """Whether this system lets a process lay files over a repository, by a try in another one.

    Raises:
        UsageError: The scratch folder lies in the repository.
    """
    if os.path.realpath(scratch).startswith(os.path.realpath(repository) + os.sep):
        raise UsageError(
            f"temporary files lie in {repository}, all of which a run sees; set TMPDIR to a folder "
            "elsewhere."
        )
    scratch.mkdir(parents=True, exist_ok=True)
    if any(sign in repository + str(scratch) for sign in _LISTS):
        return False
    child = os.fork()
    if not child:
        code = 1
        with suppress(BaseException):
            _mount(Overlay(repository=repository, edited={}), scratch)
            code = 0
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def enter(overlay: Overlay, scratch: Path, *, mounts: bool) -> Entered:
    """Let this process, and those that it starts, see the edited files in place of the user's.

    Args:
        overlay: The repository and the edited files.
        scratch: An empty folder outside the repository.
        mounts: Whether to lay them over it (see `can_mount`), or to make a copy.

    Raises:
        Refusal: A copy would be too large, or cannot hold an edited file of another place.
    """
    if mounts:
        return _mount(overlay, scratch)
    return _copy(overlay, scratch)


def _mount(overlay: Overlay, scratch: Path) -> Entered:
    upper, work = scratch / "written", scratch / "work"
    for folder in (upper, work):
        folder.mkdir(parents=True)
    covers: list[tuple[Path, str]] = []
    for path, content in overlay.edited.items():
        if path.startswith(overlay.repository + os.sep):
            target = upper / os.path.relpath(path, overlay.repository)
        else:
            target = scratch / "covers" / str(len(covers))
            covers.append((target, path))
        _put(content, target, like=path)
    namespaces.enter_mounts()
    for number, opened in enumerate(overlay.open_folders):
        place = scratch / "open" / str(number)
        place.mkdir(parents=True)
        kernel.mount(opened, str(place), flags=kernel.BIND)
        covers.append((place, opened))
    options = f"lowerdir={overlay.repository},upperdir={upper},workdir={work},userxattr"
    kernel.mount("overlay", overlay.repository, "overlay", options=options)
    for source, covered in covers:
        kernel.mount(str(source), covered, flags=kernel.BIND)
    return Entered(
        root=overlay.repository,
        repository=overlay.repository,
        edited={path: os.path.realpath(path) for path in overlay.edited},
    )


def _copy(overlay: Overlay, scratch: Path) -> Entered:
    root = scratch / "copy" / os.path.basename(overlay.repository)
    total = 0
    for source in files_below(overlay.repository):
        total += source.stat().st_size
        if total > MOST_COPIED:
            raise Refusal(
                f"{overlay.repository} holds more than 4 GiB, and this system has no overlays, so "
                "that every run needs a copy; move its data elsewhere and give the command its path"
            )
        target = root / source.relative_to(overlay.repository)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    entered = Entered(root=str(root), repository=overlay.repository)
    for link in _linked_folders(overlay.repository):
        target = root / link.relative_to(overlay.repository)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(entered.path(str(link.resolve())))
    edited = {}
    for path, content in overlay.edited.items():
        place = entered.path(path)
        if place == path:
            raise Refusal(
                f"{path} lies outside {overlay.repository}, and this system has no overlays, so "
                "that it cannot be edited for a run; copy the package into your folder"
            )
        _put(content, Path(place), like=path)
        edited[path] = os.path.realpath(place)
    return Entered(root=str(root), repository=overlay.repository, edited=edited)


def _put(content: str, target: Path, *, like: str) -> None:
    """Write an edited file with the rights of the user's, and a time that no bytecode cache has."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(content, target)
    status = os.stat(like)
    os.chmod(target, stat.S_IMODE(status.st_mode))
    later = max(time.time(), status.st_mtime + 2)
    os.utime(target, (later, later))


def files_below(root: str) -> Iterator[Path]:
    """Yield all files of a repository but version control, environments, caches and variants."""
    for here, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_skipped(Path(here, name)))
        for name in sorted(files):
            path = Path(here, name)
            if path.is_file():
                yield path


def _linked_folders(root: str) -> Iterator[Path]:
    """Yield the links to folders in a repository, whose targets are not copied with it."""
    for here, folders, _ in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_skipped(Path(here, name)))
        yield from (path for name in folders if (path := Path(here, name)).is_symlink())


def is_skipped(folder: Path) -> bool:
    """Whether a folder of a repository is none of the user's files."""
    is_ours = folder.name.endswith(KEPT_BESIDE)
    return is_ours or folder.name in _SKIPPED or is_marked(folder)
