"""Imports of variants by a Python that has never loaded this package.

    fresh Python -> the packages that all of them import, once -> one fork per variant: its files

A file that ran only because something of ours had been loaded would be no variant that a user can
take home. The fresh Python gets ready while the server does; what the packages load is loaded by
the model's own files too. Its forks are confined like jobs (see `process`).
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from antifragile.ablate.sandbox import confinement
from antifragile.ablate.sandbox.home import private_home

_SCRIPT = """
import contextlib, gc, importlib, json, os, sys, traceback
gc.disable()
sys.dont_write_bytecode = True
fence = {{"__name__": "fence"}}
exec({fence!r}, fence)
answers, nowhere = os.dup(1), os.open(os.devnull, os.O_RDWR)
os.dup2(nowhere, 1)
with fence["writing_below"]({folder!r}):
    for module, _, name in (package.partition(":") for package in {packages!r}):
        with contextlib.suppress(Exception, SystemExit):
            found = importlib.import_module(module)
            if name and not hasattr(found, name):
                importlib.import_module(module + "." + name)

def imported(folder, paths, names, script, hidden, home):
    fence["confine"]((folder, os.path.dirname(home["HOME"])), os.devnull, folder)
    for package in hidden:
        sys.modules[package] = None
    os.chdir(folder)
    os.environ.update(home)
    sys.path[:0] = paths
    sys.argv[:] = [script]
    for name in names:
        importlib.import_module(name)

def said_by_fork(variant):
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(nowhere, 0)
        os.dup2(theirs, 2)
        try:
            imported(**variant)
        except SystemExit as end:
            if end.code:
                print(end.code if isinstance(end.code, str) else "", file=sys.stderr)
                os._exit(1)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)  # what torch would do at exit takes half a second
    os.close(theirs)
    with os.fdopen(ours, errors="replace") as said:
        lines = said.read().split(chr(10))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    words = [line.strip() for line in lines if line.strip()] or ["exit code %d" % code]
    return words[-1] if code else ""

for line in sys.stdin:
    said = [said_by_fork(variant) for variant in json.loads(line)]
    os.write(answers, json.dumps(said).encode() + b"\\n")
os._exit(0)
"""


@dataclass(frozen=True, kw_only=True)
class ColdImport:
    """Modules of a variant in a copy of its own, to be imported by a fresh Python.

    Args:
        folder: The copy, which becomes the working folder.
        paths: First folders of the import path.
        names: The modules, in this order.
        script: The one word of `sys.argv`.
        hidden: Packages that must not be needed.
    """

    folder: str
    paths: Sequence[str]
    names: Sequence[str]
    script: str
    hidden: Sequence[str]


class FreshPython:
    """A Python that knows nothing of us, with packages imported; close it at the end.

    Args:
        packages: Modules that it imports first, as `preload` names them.
        folder: A scratch folder of its own.
        environment: Its variables.
        timeout_s: Seconds that are waited for its answers.
    """

    def __init__(
        self,
        packages: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        timeout_s: float,
    ) -> None:
        self.packages = tuple(packages)
        self._folder, self._timeout_s = folder, timeout_s
        folder.mkdir(exist_ok=True)
        script = _SCRIPT.format(
            packages=list(packages), folder=str(folder), fence=confinement.source()
        )
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        )

    def ask(self, variants: Sequence[ColdImport]) -> None:
        """Begin to import variants, each in a fork with a home of its own; does not wait."""
        homes = [private_home(self._folder / f"{number}") for number in range(len(variants))]
        pairs = zip(variants, homes, strict=True)
        request = json.dumps([{**asdict(one), "home": home} for one, home in pairs])
        assert self._process.stdin is not None
        with suppress(OSError):  # it ended: its answer will say so
            self._process.stdin.write(request.encode() + b"\n")
            self._process.stdin.flush()

    def answers(self, count: int) -> list[str]:
        """Wait for what became of the variants that were asked for.

        Args:
            count: Their number.

        Returns:
            For each the last line that Python said where the import failed, "" where not.
        """
        try:
            found = json.loads(self._line())
        except ValueError:
            found = ["it ended before the import did"] * count
        except TimeoutError:
            found = [f"it was not done within {self._timeout_s:g} s"] * count
        is_answer = isinstance(found, list) and len(found) == count and all(map(_is_text, found))
        return found if is_answer else ["it answered with something else than lines"] * count

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        said, until = b"", time.monotonic() + self._timeout_s
        while not said.endswith(b"\n"):
            left = max(0.0, until - time.monotonic())
            if not select.select([self._process.stdout], [], [], left)[0]:
                raise TimeoutError
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                break
            said += more
        return said

    def close(self) -> None:
        """End it and what it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _is_text(value: object) -> bool:
    return isinstance(value, str)
