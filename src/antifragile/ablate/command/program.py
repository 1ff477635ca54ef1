"""The program of a run: started, waited for, and ended with all that it has started.

launch process -> program -> whatever it starts, in sessions of its own too (as torchrun does)

The launch process adopts those whose parent ends, so that it finds them; the program is killed by
the kernel when the launch process is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from antifragile.ablate.command.metrics import STDERR, STDOUT
from antifragile.ablate.command.notes import RunNotes
from antifragile.ablate.command.startup import forked
from antifragile.ablate.sandbox.limits import kernel
from antifragile.ablate.sandbox.limits.group import end_descendants
from antifragile.ablate.sandbox.limits.keeper import end_with
from antifragile.ablate.sandbox.loading import Refusal

_LAST_LINES = 3
_TAIL = 16_384  # bytes
_ERROR = re.compile(r"(\[rank\d+\]: ?)?[\w.]+(Error|Exception|Interrupt): \S")
_POLL_S = 0.05
_NAMED_FOLDER = re.compile(r" \(see ([^()]*)\)(?=$|;)")  # as `_judge` writes it
OUT = "out"  # in the folder of a run, what stands for {out}
_OF_A_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours


def run_program(
    words: Sequence[str],
    folder: str,
    place: Path,
    environment: Mapping[str, str],
    *,
    until: Path | None = None,
    path: Sequence[str] = (),
) -> None:
    """Run a program to its end, and end what it leaves running.

    Args:
        words: The program and its arguments.
        folder: The folder where it is started.
        place: The folder for what it prints.
        environment: Its variables.
        until: A file of a preview, at whose making all of it is ended; None for a run. (A launcher
            may wait for what has ended, or go on.)
        path: The import path of a Python that is forked rather than started; none to start it.

    Raises:
        Refusal: It failed.
    """
    with suppress(OSError, AttributeError):  # of another system
        kernel.adopt_orphans()
    with (place / STDOUT).open("wb") as stdout, (place / STDERR).open("wb") as stderr:
        tied = partial(end_with, os.getpid())
        try:
            if path:
                code = _forked(words, folder, environment, path, (stdout, stderr), tied)
                return _judge(code, place, is_preview=False)
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                preexec_fn=tied,
            )
            if until is not None and _has_shown(process, until):
                return
            code = process.wait()
        finally:
            end_descendants(os.getpid())
    _judge(code, place, is_preview=until is not None)


def _forked(
    words: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    path: Sequence[str],
    outputs: tuple[IO[bytes], IO[bytes]],
    before: Callable[[], object],
) -> int:
    """Run a Python by a fork to its end; return its exit code, or a signal below zero."""
    with open(os.devnull, "rb") as stdin:
        streams = (stdin.fileno(), *(file.fileno() for file in outputs))
        pid = forked.start(words, folder, environment, path, streams, before)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _judge(code: int, place: Path, *, is_preview: bool) -> None:
    if code:
        how = f"with exit code {code}" if code > 0 else f"by signal {-code}"
        said = " | ".join(_last_lines(place / STDERR) or _last_lines(place / STDOUT))
        where = "" if is_preview else f" (see {place})"
        raise Refusal(f"the command ended {how}{': ' + said if said else ''}{where}")


def without_folder(reason: str) -> tuple[str, str]:
    """Split a failure into what runs that fail alike share, and the words on the run's folder.

    Returns:
        The reason, in which the folder of its output is ``{out}``, and where more stands: empty
        where the reason names no folder.
    """
    named = _NAMED_FOLDER.search(reason)
    if named is None:
        return reason, ""
    shared = reason[: named.start()] + reason[named.end() :]
    for place, word in ((f"{named[1]}{os.sep}{OUT}", "{out}"), (named[1], "{out}/..")):
        shared = shared.replace(place, word)
    return shared, named[0]


def _has_shown(process: subprocess.Popen[bytes], shown: Path) -> bool:
    """Wait for the end of a preview; return whether it showed what is trained."""

    def is_whole() -> bool:
        return shown.is_file() and shown.read_bytes().endswith(b"\n")

    while process.poll() is None and not is_whole():
        time.sleep(_POLL_S)
    return is_whole()


def _last_lines(path: Path) -> list[str]:
    """The last lines, or the last error where it lies before these, as under a launcher."""
    text = path.read_bytes()[-_TAIL:].decode("utf-8", errors="replace")
    plain = _OF_A_TERMINAL.sub("", text)
    lines = [" ".join(line.split()) for line in plain.splitlines()]
    last = [line for line in lines if line.strip("^~ ")][-_LAST_LINES:]  # no carets below code
    errors = [line for line in lines if _ERROR.match(line)]
    return errors[-1:] if errors and errors[-1] not in last else last


def path_of_fork(like: RunNotes) -> tuple[str, ...]:
    """The import path for a fork that is to be like a run by a started Python.

    Args:
        like: Notes of that run.

    Returns:
        Nothing where a fork of this process would be another: several Pythons ran, or another
        environment's, or one with options, or with a start-up hook of the user's.
    """
    if len(like.pythons) != 1:
        return ()
    [python] = like.pythons
    program = python.program
    is_plain = bool(program) and (program[0] == "-m" or not program[0].startswith("-"))
    flags = {name: getattr(sys.flags, name, None) for name in python.flags}
    is_same = python.prefix == sys.prefix and flags == python.flags and not python.has_hook
    return python.path if is_plain and is_same else ()
