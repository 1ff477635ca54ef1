"""The folder of a study's checkpoints and kept weights, or of one trial, and its lock.

A kept file is sealed: its name ends in the SHA-256 of its content, so the two change in one step.
Earlier versions kept files without; they are read as they are.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from antifragile._files import make_folder, move, remove_temporary_files, safe_name, sha256_of
from antifragile.config.architecture import file_stem
from antifragile.config.specs.trial import TrialSpec
from antifragile.errors import StoreError, UsageError, WorldError
from antifragile.store.store import Store


def default_files(store: Store, study: str) -> Path:
    """The folder of a study's checkpoints and kept weights, unless the caller names another.

    That of a store in memory is a temporary one, which ends with the process.
    """
    readable = safe_name(study, also="._-", at_most=60)
    folder = f"{readable or 'study'}-{hashlib.sha256(study.encode()).hexdigest()[:8]}"
    if store.url.get_backend_name() == "sqlite" and not store.is_memory:
        path = Path(str(store.url.database))
        return path.with_name(path.name + ".files") / folder
    address = store.url.render_as_string(hide_password=True)
    if store.is_memory:
        return _temporary_folder() / folder
    where = hashlib.sha256(address.encode()).hexdigest()[:16]
    return platformdirs.user_cache_path("antifragile") / "stores" / where / folder


def seal(path: Path) -> Path:
    """Add the SHA-256 of a kept file to its name; what was sealed under that name before goes.

    Args:
        path: The file, written whole.

    Returns:
        Its new path.
    """
    sealed = path.with_name(f"{path.stem}-{sha256_of(path)}{path.suffix}")
    move(path, sealed)
    for other in _sealed_files(path):
        if other != sealed:
            other.unlink(missing_ok=True)
    return sealed


def find_kept(path: Path) -> Path | None:
    """The kept file of a name, after a check of its content; None if there is none.

    Args:
        path: The path before it was sealed.

    Raises:
        StoreError: It is damaged.
    """
    damaged = None
    for sealed in _sealed_files(path):
        if sealed.is_file() and sealed.stem == f"{path.stem}-{sha256_of(sealed)}":
            return sealed
        damaged = sealed
    if path.is_file():  # of an earlier version, or of a process that was killed before sealing
        return path
    if damaged is not None:
        raise StoreError(f"{damaged} is damaged: its content does not have the hash in its name.")
    return None


def _sealed_files(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))


@cache
def _temporary_folder() -> Path:
    path = Path(tempfile.mkdtemp(prefix="antifragile-memory-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def state_file(files: Path, spec: TrialSpec) -> Path:
    """The file of one trial's state, in the folder of its study."""
    stem = file_stem(spec.architecture.name)
    return files / f"{stem}_{_mode_stem(spec.mode)}_{spec.trial:03d}.safetensors"


def _mode_stem(mode: str) -> str:
    """Turn a mode's name into a part of a file name; modifiers and stretches get a hash."""
    if not any(sign in mode for sign in "+:"):
        return mode
    readable = safe_name(mode, also="_-", at_most=60)
    return f"{readable}-{hashlib.sha256(mode.encode()).hexdigest()[:8]}"


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the kernel gives it back when the process dies, however it dies.

    Raises:
        UsageError: Another process holds it.
        WorldError: The folder cannot be written.
    """
    make_folder(folder)
    place = folder / "driver.lock"
    try:
        lock = FileLock(place)
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"another process writes its results to {folder}; wait for it, stop it first, or "
            "choose another folder."
        ) from None
    except OSError as error:
        raise WorldError(
            f"cannot write to {folder}: {error.strerror}; choose another folder."
        ) from error
    try:
        remove_temporary_files(folder)
        yield
    finally:
        remove_temporary_files(folder)
        place.unlink(missing_ok=True)  # while it is held: who waits for it sees that it is gone
        lock.release()
