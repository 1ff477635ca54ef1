"""The program of a run: started, waited for, and ended with all that it has started.

launch process -> program -> whatever it starts, in sessions of its own too (as torchrun does)

The launch process adopts those whose parent ends, so that it finds them; the program is killed by
the kernel when the launch process is.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from antifragile.ablate.command.metrics import STDERR, STDOUT
from antifragile.ablate.sandbox.limits import kernel
from antifragile.ablate.sandbox.limits.group import end_descendants
from antifragile.ablate.sandbox.limits.keeper import end_with
from antifragile.ablate.sandbox.loading import Refusal

_LAST_LINES = 3
_TAIL = 16_384  # bytes
_ERROR = re.compile(r"(\[rank\d+\]: ?)?[\w.]+(Error|Exception|Interrupt): \S")
_POLL_S = 0.05
_OF_A_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours


def run_program(
    words: Sequence[str],
    folder: str,
    place: Path,
    environment: Mapping[str, str],
    *,
    until: Path | None = None,
) -> None:
    """Run a program to its end, and end what it leaves running.

    Args:
        words: The program and its arguments.
        folder: The folder where it is started.
        place: The folder for what it prints.
        environment: Its variables.
        until: A file of a preview, at whose making all of it is ended; None for a run. (A launcher
            may wait for what has ended, or go on.)

    Raises:
        Refusal: It failed.
    """
    with suppress(OSError, AttributeError):  # of another system
        kernel.adopt_orphans()
    with (place / STDOUT).open("wb") as stdout, (place / STDERR).open("wb") as stderr:
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                preexec_fn=partial(end_with, os.getpid()),
            )
            if until is not None and _has_shown(process, until):
                return
            code = process.wait()
        finally:
            end_descendants(os.getpid())
    if code:
        how = f"with exit code {code}" if code > 0 else f"by signal {-code}"
        said = " | ".join(_last_lines(place / STDERR) or _last_lines(place / STDOUT))
        where = f" (see {place})" if until is None else ""
        raise Refusal(f"the command ended {how}{': ' + said if said else ''}{where}")


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
    last = [line for line in lines if line][-_LAST_LINES:]
    errors = [line for line in lines if _ERROR.match(line)]
    return errors[-1:] if errors and errors[-1] not in last else last
