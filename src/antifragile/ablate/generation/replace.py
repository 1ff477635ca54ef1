"""A new set of variants made beside the old one, which it then replaces whole.

    OUT/.ablations/new     the new set while it is made; a kill leaves the old set as it is
              | one rename: from here on OUT holds the new set
              v
    OUT/.ablations/ready   old folders move out of OUT, new ones in, the index last

Who opens OUT after a kill between the two ends what was begun (`finish_replacement`), so a reader
finds the old set or the new one. Only what the old index lists is ever removed, and of that nothing
that was edited or added since: before any work it is refused by name; what was edited while the new
set was made moves aside and stays.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from antifragile._files import check_folder_path, make_folder, move
from antifragile.ablate.generation.digests import added_or_changed
from antifragile.ablate.generation.index import INDEX, VariantSet, read_index
from antifragile.ablate.generation.locks import WORK, locked, told
from antifragile.errors import AntifragileError, StoreError, UsageError

logger = logging.getLogger(__name__)

_NEW, _READY, _OLD_INDEX = "new", "ready", "old.json"
_INSIDE, _OUTSIDE = "in", "out"  # below `ready`: folders on their way into OUT, and out of it
_Read = TypeVar("_Read")


def check_is_ours(out: Path) -> None:
    """Refuse a folder in which a new set would cost the user something, before any work.

    Raises:
        UsageError: It holds something and no set of variants, or a file of a variant was edited or
            added since it was written, or there is a file in the way.
        StoreError: Another process makes a set there.
    """
    check_folder_path(out)
    if (out / WORK).is_dir():
        with locked(out, "generate"), told(out):
            _end_replacement(out)
    if out.is_dir():
        _check_contents(out)


def check_names_free(out: Path, names: Iterable[str]) -> None:
    """Refuse a folder in which something of the user's has the name of a folder that is needed.

    Raises:
        UsageError: It does.
    """
    _check_free(out, set(names) - _listed(out / INDEX).keys())


@contextmanager
def new_set(out: Path) -> Iterator[Path]:
    """Give a folder for a new set with its index; at the end it replaces the old set in `out`.

    Raises:
        UsageError: See `check_is_ours`, `check_names_free`.
        StoreError: Another process makes a set there.
        WorldError: It cannot be written, or the disk is full; the old set stays.
    """
    check_is_ours(out)
    make_folder(out)
    new = out / WORK / _NEW
    with locked(out, "generate"), told(out):
        _end_replacement(out)
        _check_contents(out)
        _remove(new)
        (new / _INSIDE).mkdir(parents=True)
        try:
            yield new / _INSIDE
            check_names_free(out, read_index(new / _INSIDE / INDEX).files_by_folder())
            if (out / INDEX).is_file():
                shutil.copyfile(out / INDEX, new / _OLD_INDEX)
            move(new, out / WORK / _READY)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        _end_replacement(out)


def finish_replacement(out: Path) -> None:
    """End a replacement that a killed process began; wait for one that is under way.

    Raises:
        WorldError: The folder cannot be written.
    """
    if _is_under_way(out):
        with locked(out, "generate", is_waiting=True), told(out):
            _end_replacement(out)


def read_settled(out: Path, read: Callable[[Path], _Read]) -> _Read:
    """Read a set that no process replaces meanwhile, or read it again.

    Args:
        out: The set's folder.
        read: Reads it.
    """
    while True:
        finish_replacement(out)
        before = _state(out)
        try:
            found = read(out)
        except (AntifragileError, OSError):
            if before is not None and _state(out) == before:
                raise
            continue
        if before is not None and _state(out) == before:
            return found


def _end_replacement(out: Path) -> None:
    """Move the old folders out, the new ones in, the index last; any of it may be done already."""
    ready = out / WORK / _READY
    inside, outside = ready / _INSIDE, ready / _OUTSIDE
    if not ready.is_dir():
        return
    old = _listed(ready / _OLD_INDEX)
    outside.mkdir(exist_ok=True)
    if (inside / INDEX).exists():
        new = read_index(inside / INDEX).files_by_folder()
        waiting = [name for name in new if (inside / name).exists()]
        for name in old:
            is_old = name in waiting or name not in new
            if is_old and os.path.lexists(out / name) and not os.path.lexists(outside / name):
                move(out / name, outside / name)
        _check_free(out, waiting)
        for name in waiting:
            move(inside / name, out / name)
        move(inside / INDEX, out / INDEX)
    for name, files in old.items():
        _drop(outside / name, files, out)
    _remove(ready)


def _check_contents(out: Path) -> None:
    """Refuse a folder that holds no set but something else, or a set with the user's work in it."""
    if not (out / INDEX).is_file() and any(path.name != WORK for path in out.iterdir()):
        raise UsageError(
            f"{out} is not empty and was not made by 'ablate generate'; choose another."
        )
    for folder, files in _listed(out / INDEX).items():
        if file := added_or_changed(out / folder, files):
            raise UsageError(
                f"{file} was changed or added after its folder was generated, and a new set would "
                f"remove it; rename or remove {out / folder}, or choose another --out."
            )


def _check_free(out: Path, names: Iterable[str]) -> None:
    for name in sorted(names):
        if os.path.lexists(out / name):
            raise UsageError(
                f"{out / name} is in the way of a variant's folder and was not made by 'ablate "
                "generate', so it stays; give it another name, or choose another --out."
            )


def _drop(folder: Path, files: Mapping[str, str], out: Path) -> None:
    """Remove an old folder, or put it beside the new set if it is not as it was written."""
    if not os.path.lexists(folder):
        return
    if added_or_changed(folder, files) is None:
        _remove(folder)
        return
    number = 1
    while os.path.lexists(kept := out / f"{folder.name}-kept-{number}"):
        number += 1
    move(folder, kept)
    logger.warning("%s was changed while a new set was made; it is kept as %s.", folder.name, kept)


def _listed(index: Path) -> Mapping[str, Mapping[str, str]]:
    """The folders that an index lists, with the hashes of their files; none if it is unreadable."""
    try:
        found: VariantSet = read_index(index)
    except StoreError:
        return {}
    return found.files_by_folder()


def _is_under_way(out: Path) -> bool:
    return (out / WORK / _READY).is_dir()


def _state(out: Path) -> tuple[int, ...] | None:
    """The traits by which a set is told from the next; None while one is being replaced."""
    try:
        status = (out / INDEX).stat()
        index = (status.st_ino, status.st_mtime_ns, status.st_size)
    except OSError:
        index = (0, 0, 0)
    return None if _is_under_way(out) else index


def _remove(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
