"""A server process from outside: started, asked, listened to with patience, and ended with all."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from antifragile.ablate.sandbox.limits.group import end_descendants, end_marked
from antifragile.errors import WorldError

_MARK = "ANTIFRAGILE_SERVER"  # a variable by which processes that are left are known
_LOOK_S, _SLACK_S = 0.5, 5.0


class ServerPipe:
    """A server process, and JSON lines to and from it.

    Args:
        module: The module that it runs.
        start: Its only argument.
        environment: Its variables.
        mark: A text that no other server has.
        timeout_s: Seconds after which it has ended a job.
        ends_all: Whether what its jobs leave is ended.

    Attributes:
        process: The process.
    """

    def __init__(
        self,
        module: str,
        start: Mapping[str, Any],
        *,
        environment: Mapping[str, str],
        mark: str,
        timeout_s: float,
        ends_all: bool,
    ) -> None:
        self._mark, self._patience_s = f"{_MARK}={mark}", timeout_s + _SLACK_S
        self._ends_all, self._unread = ends_all, b""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, json.dumps(start)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment, _MARK: mark},
            start_new_session=True,
        )

    def send(self, request: Mapping[str, Any]) -> None:
        """Ask for something.

        Raises:
            WorldError: The server ended.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise self._died() from error

    def read(self, *, takes_long: bool) -> dict[str, Any]:
        """Wait for what it says next.

        Args:
            takes_long: Whether it does something that has no time limit.

        Raises:
            WorldError: The server ended, or was stopped and is ended now.
        """
        *lines, self._unread = self._unread.split(b"\n", 1)
        while not lines:
            self._unread += self._more(float("inf") if takes_long else self._patience_s)
            *lines, self._unread = self._unread.split(b"\n", 1)
        found: dict[str, Any] = json.loads(lines[0])
        return found

    def _more(self, patience_s: float) -> bytes:
        assert self.process.stdout is not None
        pipe, waited_s = self.process.stdout.fileno(), 0.0
        while not select.select([pipe], [], [], _LOOK_S)[0]:
            waited_s += _LOOK_S  # of this process's own time: it may have been stopped as well
            if waited_s > patience_s or self._is_stopped():
                self.end()
                raise WorldError(
                    "the process that runs model code was stopped, perhaps by the model, and was "
                    "ended with all that it ran; mend that and run the same command again."
                )
        if said := os.read(pipe, 1 << 16):
            return said
        raise self._died()

    def _died(self) -> WorldError:
        """End what is left of the server; an error with what it said last."""
        assert self.process.stderr is not None
        self.end()
        os.set_blocking(self.process.stderr.fileno(), False)
        said = (self.process.stderr.read() or b"").decode(errors="replace").strip().splitlines()
        why = f": {said[-1]}" if said else ""
        return WorldError(
            f"the process that runs model code ended{why}; "
            "mend that and run the same command again."
        )

    def _is_stopped(self) -> bool:
        """Whether somebody stopped the server; a model could, where no mechanism holds it."""
        if self.process.returncode is not None or not hasattr(os, "waitid"):
            return False
        options = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, self.process.pid, options) is not None
        return False

    def end(self) -> None:
        """End all processes: by the server itself, else by the kernel, and those that were left."""
        with suppress(subprocess.TimeoutExpired):
            if not self._is_stopped():
                self.process.terminate()
                self.process.wait(timeout=10)
        if self._ends_all and self.process.returncode is None:
            end_descendants(self.process.pid)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self._ends_all:
            end_marked(self._mark)

    def close(self) -> None:
        """End it, and forget it."""
        self.end()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
