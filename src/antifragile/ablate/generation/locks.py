"""The hidden folder in which new variants are made, and the locks of those who make them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from antifragile._files import make_folder
from antifragile.errors import StoreError, WorldError

logger = logging.getLogger(__name__)

WORK = ".ablations"  # beside the index


@contextmanager
def locked(out: Path, verb: str, *, is_waiting: bool = False) -> Iterator[None]:
    """Hold one of a set's locks; the kernel gives it back when the process dies.

    Args:
        out: The set's folder.
        verb: The verb of `ablate` that takes it.
        is_waiting: Wait for another process that holds it, and say so, instead of refusing.

    Raises:
        StoreError: Another process holds it.
        WorldError: The folder cannot be written.
    """
    make_folder(out / WORK)
    lock = FileLock(out / WORK / f"{verb}.lock")
    with told(out):
        try:
            lock.acquire(timeout=1 if is_waiting else 0)
        except Timeout:
            if not is_waiting:
                raise StoreError(
                    f"another 'ablate {verb}' is writing to {out}; wait for it, or choose another "
                    "folder."
                ) from None
            logger.warning("Another 'ablate %s' is writing to %s; waiting for it.", verb, out)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def told(out: Path) -> Iterator[None]:
    """Say in one sentence that a folder cannot be written."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not Path(str(error.filename)).is_relative_to(out):
            raise
        raise WorldError(
            f"cannot write to {out}: {error.strerror or error}; free space or choose a folder that "
            "can be written, then run the same command again."
        ) from error
