"""Digests of the files in a variant's folder, to which its certificate is tied.

All files count but those that we write beside the model's own (the change, its description, the
certificate) and Python's compiled copies. Nothing in a folder may be a link: it could lead to
another file tomorrow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from antifragile._files import sha256_of
from antifragile.ablate.source.combine import DIFF

AGAIN = (  # the advice when files were changed, which a new set does not replace
    "bring the files back as they were, or give the folder another name and run 'antifragile "
    "ablate generate' again"
)
CERTIFICATE, DESCRIPTION = "certificate.json", "variant.toml"
_OURS = (CERTIFICATE, DESCRIPTION, DIFF)
_CODE = (".py", ".pyc", ".pyw", ".so", ".pyd")  # what an import could find


def digests_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a variant or the baseline, by its path in the folder."""
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in _files_in(folder)}


def changed_since(folder: Path, certified: Mapping[str, str]) -> str | None:
    """Say, as a clause, which file is no longer as it was certified; None if all are.

    Args:
        folder: A variant's folder, or the baseline's.
        certified: The result of `digests_of` when the certificate was made.
    """
    if folder.is_symlink():
        return "the folder is a link"
    try:
        there = {path.relative_to(folder).as_posix(): path for path in _files_in(folder)}
        for file, path in there.items():
            if path.is_symlink():
                return f"{file} is a link"
            if file not in certified and path.suffix in _CODE:
                return f"{file} was added after it was certified"
        return changed_in_copy(folder, certified)
    except OSError as error:
        return f"its files cannot be read ({error.strerror})"


def changed_in_copy(folder: Path, certified: Mapping[str, str]) -> str | None:
    """Say, as a clause, which file of a copy is not as it was certified; None if all are.

    Args:
        folder: A copy that holds other files too.
        certified: The hashes of the files that count.

    Raises:
        OSError: One cannot be read.
    """
    for file, sha256 in certified.items():
        path = folder / file
        if not path.is_file():  # reading a pipe would wait for a writer
            return f"{file} is {'no regular file' if path.exists() else 'missing'}"
        if path.is_symlink() or sha256_of(path) != sha256:
            return f"{file} was changed after it was certified"
    return None


def added_to(folder: Path, certified: Mapping[str, str]) -> list[str]:
    """List the files of a variant's folder that no certificate names, by their path in it."""
    there = (path.relative_to(folder).as_posix() for path in _files_in(folder))
    return [file for file in there if file not in certified]


def digests_of_all(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a folder, those that we write beside the model's too."""
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in _all_files_in(folder)}


def added_or_changed(folder: Path, written: Mapping[str, str]) -> Path | None:
    """Find a file that somebody added or changed since a folder was written; None if nobody did.

    Args:
        folder: A variant's folder, or the baseline's.
        written: The result of `digests_of_all` then, or of `digests_of`, which says nothing of the
            files that we write beside the model's.
    """
    if folder.is_symlink() or not folder.is_dir():
        return folder if os.path.lexists(folder) else None
    for path in _all_files_in(folder):
        name = path.relative_to(folder).as_posix()
        if name not in written and name in _OURS:
            continue
        try:
            is_ours = path.is_file() and not path.is_symlink()
            is_same = is_ours and sha256_of(path) == written.get(name)
        except OSError:
            is_same = False
        if not is_same:
            return path
    return None


def _all_files_in(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder but Python's compiled copies, and links to folders."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        yield from (here / name for name in sorted(folders) if (here / name).is_symlink())
        for name in sorted(files):
            if here.name != "__pycache__" or not name.endswith(".pyc"):
                yield here / name


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, and links to folders, which are not followed."""
    for place, folders, files in os.walk(folder):
        if "__pycache__" in folders:
            folders.remove("__pycache__")
        here = Path(place)
        yield from (here / name for name in sorted(folders) if (here / name).is_symlink())
        ours = _OURS if here == folder else ()
        yield from (here / name for name in sorted(files) if name not in ours)
