"""The program of a run: started, waited for, and ended with all that it has started.

launch process -> program -> whatever it starts, in sessions of its own too (as torchrun does)

The launch process adopts those whose parent ends, so that it finds them; the program is killed by
the kernel when the launch process is.
"""

from __future__ import annotations

import os
import subprocess
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


def run_program(
    words: Sequence[str], folder: str, place: Path, environment: Mapping[str, str]
) -> None:
    """Run a program to its end, and end what it leaves running.

    Args:
        words: The program and its arguments.
        folder: The folder where it is started.
        place: The folder for what it prints.
        environment: Its variables.

    Raises:
        Refusal: It failed.
    """
    with suppress(OSError, AttributeError):  # of another system
        kernel.adopt_orphans()
    with (place / STDOUT).open("wb") as stdout, (place / STDERR).open("wb") as stderr:
        try:
            code = subprocess.Popen(
                words,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                preexec_fn=partial(end_with, os.getpid()),
            ).wait()
        finally:
            end_descendants(os.getpid())
    if code:
        how = f"with exit code {code}" if code > 0 else f"by signal {-code}"
        said = " | ".join(_last_lines(place / STDERR) or _last_lines(place / STDOUT))
        raise Refusal(f"the command ended {how}{': ' + said if said else ''} (see {place})")


def _last_lines(path: Path) -> list[str]:
    text = path.read_bytes()[-4096:].decode("utf-8", errors="replace")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return [line for line in lines if line][-_LAST_LINES:]
