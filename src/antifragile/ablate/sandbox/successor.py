"""A server that imports packages hands its work to a child of its own, once they did no harm.

    server -> fork -> imports, a look at itself after each (`preload`) -> no harm: it serves now
                                                                      -> harm, or its end: thrown
                                                    away; another fork imports those before it

So a package that starts threads, hangs or ends the process costs its import and nothing else, and
what was taken over can be given back. Meanwhile nothing is written outside the server's own folder.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from antifragile.ablate.sandbox import confinement
from antifragile.ablate.sandbox.limits.keeper import end_with
from antifragile.ablate.sandbox.preload import import_named, imported_without_harm, is_imported

GIVES_BACK = 75  # exit code of a successor after which its parent serves again
_ONE_MORE, _SERVES = b".", b"!"


def hand_over(names: Sequence[str], root: str, folder: str, timeout_s: float) -> list[str]:
    """Import packages; return in the process that serves from now on.

    Args:
        names: The packages, as `preload` names them.
        root: Folder of the project; a package that loads a file of it does harm.
        folder: The server's own folder, where it may write and where it stays.
        timeout_s: Seconds for all imports.

    Returns:
        Those that are imported: all up to the first that does harm; none where this process serves
        again after its successor gave back. The process is another one if it imported anything.
    """
    kept = list(names)
    while kept and not all(map(is_imported, kept)):
        ours, theirs = os.pipe()
        parent, child = os.getpid(), os.fork()
        if not child:
            os.close(ours)
            end_with(parent)
            _import_all(kept, root, folder, theirs)
            return kept
        os.close(theirs)
        said = _said_by(ours, timeout_s)
        if said.endswith(_SERVES):
            if (code := _served(child)) != GIVES_BACK:
                os._exit(abs(code))
            return []
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kept = kept[: len(said)]
    return kept


def _served(child: int) -> int:
    """Wait for the end of a successor, and pass on to it that it is to end; its exit code."""
    before = signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.signal(signal.SIGTERM, before)
    return code


@contextmanager
def silent() -> Iterator[None]:
    """Let nothing that is printed inside reach the pipes of the server."""
    kept = [(number, os.dup(number)) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number, _ in kept:
        os.dup2(nowhere, number)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)


def import_quietly(names: Sequence[str]) -> None:
    """Import modules that may print or fail; children share what they leave in memory."""
    with silent():
        for name in names:
            with suppress(Exception, SystemExit):
                import_named(name)
    gc.freeze()


def _import_all(names: Sequence[str], root: str, folder: str, told: int) -> None:
    """Import packages, or end this process at the first that does harm."""
    os.chdir(folder)
    with silent(), confinement.writing_below(folder):
        left = list(names)
        for name in imported_without_harm(names, root):
            os.write(told, _ONE_MORE)
            left.remove(name)
        if left:
            os._exit(1)
    gc.freeze()
    os.write(told, _SERVES)
    os.close(told)


def _said_by(pipe: int, timeout_s: float) -> bytes:
    """Read what a successor tells of its imports, until it serves, ends, or takes too long."""
    said, until = b"", time.monotonic() + timeout_s
    while not said.endswith(_SERVES):
        left = max(0.0, until - time.monotonic())
        more = os.read(pipe, 4096) if select.select([pipe], [], [], left)[0] else b""
        if not more:
            break
        said += more
    os.close(pipe)
    return said
