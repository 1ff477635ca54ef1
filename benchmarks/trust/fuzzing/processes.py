"""Commands in processes of their own: started anew, or forked with the libraries loaded.

A fork spares the second or two in which a new process imports PyTorch, so that ten times as many
commands can be tried; exit code, output, folder, session and end are those of a command.
"""

from __future__ import annotations

import atexit
import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

import antifragile
from antifragile.cli.main import main


def run_command(
    words: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    limit_s: float,
    is_new: bool,
) -> tuple[int | None, str]:
    """Run ``antifragile`` with these words.

    Args:
        words: The words after the program's name.
        folder: Its working folder.
        environment: Variables beside those of this process.
        limit_s: Seconds after which it is killed, with its session.
        is_new: Whether it is a new process and no fork.

    Returns:
        Its exit code, None if it was killed, negative if by a signal; and all that it printed.
    """
    with tempfile.TemporaryFile() as output:
        if is_new:
            number = subprocess.Popen(
                [sys.executable, "-m", "antifragile", *words],
                cwd=folder,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            ).pid
        else:
            _load_all()
            if (number := os.fork()) == 0:
                _be_the_command(words, folder, environment, output.fileno())
        code = _wait(number, limit_s)
        output.seek(0)
        return code, output.read().decode("utf-8", "replace")


@cache
def _load_all() -> None:
    """Import all of the package that can be imported here."""
    for module in pkgutil.walk_packages(antifragile.__path__, "antifragile."):
        if "._" not in module.name:
            try:
                importlib.import_module(module.name)
            except ImportError:  # of an extra
                continue


def _be_the_command(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], output: int
) -> NoReturn:
    """Take the place of the command in the forked process, and end with its exit code."""
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        os.environ.update(environment)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        sys.argv = ["antifragile", *words]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(number: int, limit_s: float) -> int | None:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        ended, status = os.waitpid(number, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return None
