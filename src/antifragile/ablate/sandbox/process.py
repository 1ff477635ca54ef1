"""The server process: it imports the preloads, then forks one limited child per request.

Run by `server.Server` as ``python -m antifragile.ablate.sandbox.process WORKERS MODULE...``.
Requests come as JSON lines on stdin, endings go as JSON lines to stdout; a child leaves its answer
in the scratch folder that the request names. When stdin closes, all ends: children are killed. A
request to import packages is answered by a successor, a fork that did so and serves from then on.

    child: own session, no terminal, no output -> copy, confinement -> folder -> limits
           -> target(**arguments) -> answer

Linux counts in RLIMIT_DATA what a process may write in private: heap, anonymous maps, stacks. Torch
reserves much address space (RLIMIT_AS would count that), but its data is 180 MB after the import;
the limit is set as far above that as the job allows. Shared memory is watched from outside.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antifragile.ablate.sandbox import answers, confinement, copies, loading, successor
from antifragile.ablate.sandbox.home import private_home

_POLL_S = 0.2  # how often shared memory, which no limit counts, is looked at
_CHUNK = 1 << 16


@dataclass
class _Child:
    """A job that runs."""

    number: int
    started: float
    deadline: float
    most_resident: int  # bytes
    stopped: str = ""  # "timeout" or "memory", where the server ended it


def main() -> None:
    """Serve until stdin closes."""
    workers, preload = int(sys.argv[1]), sys.argv[2:]
    gc.disable()  # until the fork, and no module is collected: children share their pages
    for name in preload:
        importlib.import_module(name)
    gc.freeze()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    _serve(workers)


def _serve(workers: int) -> None:
    woken, wake = _wake_pipe()
    own, is_successor = os.getpid(), False
    waiting: list[dict[str, Any]] = []
    children: dict[int, _Child] = {}
    signal.signal(signal.SIGTERM, lambda *_: _end(children))
    unread = b""
    while True:
        while waiting and _may_start(waiting[0], children, workers):
            request = waiting.pop(0)
            if "import" in request:
                successor.import_quietly(request["import"])
            elif "packages" in request:
                kept = successor.hand_over(*request["packages"])
                if os.getpid() != own:
                    own, is_successor = os.getpid(), True
                    os.close(woken)
                    woken, wake = _wake_pipe(wake)
                _write_line({"packages": kept, "is_successor": is_successor})
            elif "give_back" in request:
                os._exit(successor.GIVES_BACK)
            else:
                children[_fork(request, (woken, wake))] = _timed(request)
        ready = select.select([0, woken], [], [], _seconds_left(children))[0]
        if 0 in ready:
            chunk = os.read(0, _CHUNK)
            if not chunk:
                _end(children)
            *lines, unread = (unread + chunk).split(b"\n")
            waiting += map(json.loads, lines)
        if woken in ready:
            with suppress(BlockingIOError):
                os.read(woken, _CHUNK)
        _stop_over_limit(children)
        _reap(children)


def _wake_pipe(before: int = -1) -> tuple[int, int]:
    """A pipe that can be read when a child has ended; a successor's is not that from `before`."""
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    if before >= 0:
        os.close(before)
    return woken, wake


def _may_start(request: dict[str, Any], children: dict[int, _Child], workers: int) -> bool:
    if "packages" in request or "give_back" in request:
        return not children
    return "import" in request or len(children) < workers


def _write_line(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _timed(request: dict[str, Any]) -> _Child:
    now = time.monotonic()
    return _Child(
        number=request["id"],
        started=now,
        deadline=now + request["timeout_s"],
        most_resident=_resident_bytes(os.getpid()) + request["memory_bytes"],
    )


def _seconds_left(children: dict[int, _Child]) -> float | None:
    deadlines = [child.deadline for child in children.values() if not child.stopped]
    return min(_POLL_S, max(0.0, min(deadlines) - time.monotonic())) if deadlines else None


def _stop_over_limit(children: dict[int, _Child]) -> None:
    """End children over their time, or over their memory in ways that RLIMIT_DATA does not see."""
    for pid, child in children.items():
        if child.stopped:
            continue
        if time.monotonic() >= child.deadline:
            child.stopped = "timeout"
        elif _resident_bytes(pid) > child.most_resident:
            child.stopped = "memory"
        if child.stopped:
            _kill(pid)


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):  # ended meanwhile, or no /proc
        return 0
    return pages * resource.getpagesize()


def _reap(children: dict[int, _Child]) -> None:
    """Report the children that ended, and end the processes they started."""
    for pid, child in list(children.items()):
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if os.waitid(os.P_PID, pid, options) is None:
            continue
        _kill(pid)  # its own children; not yet waited for, so the number is still its own
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        del children[pid]
        how = child.stopped or ("exit" if status >= 0 else "signal")
        ended = {
            "id": child.number,
            "how": how,
            "code": abs(status),
            "seconds": time.monotonic() - child.started,
        }
        _write_line(ended)


def _kill(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _end(children: dict[int, _Child]) -> None:
    for pid in children:
        _kill(pid)
    os._exit(0)


def _fork(request: dict[str, Any], pipes: tuple[int, int]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        for descriptor in pipes:
            os.close(descriptor)
        _confine(parent)
        _answer(request)
    finally:
        os._exit(1)


def _confine(parent: int) -> None:
    """Give the child a session of its own, no terminal, no output; let it end with the server."""
    os.setsid()
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    successor.end_with(parent)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _private_bytes() + memory_bytes
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _lift_limit() -> None:
    """Allow the answer to be written even where the memory limit is reached."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _private_bytes() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # no /proc: what is resident comes near it
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    [size] = [line.split()[1] for line in lines if line.startswith("VmData:")]
    return int(size) * 1024


def _answer(request: dict[str, Any]) -> None:
    """Call the target; leave the value it returned, or the reason for none, in a file."""
    scratch = Path(request["scratch"])
    path = scratch / answers.ANSWER
    try:
        answers.write_value(path, _call(request, scratch))
    except BaseException as error:
        _lift_limit()
        answers.write_failure(path, *_explain(error))
    os._exit(0)


def _call(request: dict[str, Any], scratch: Path) -> Any:
    gc.enable()
    sys.dont_write_bytecode = True
    sys.stderr = loading.LastWords()
    sys.argv[:] = [request["script"]]
    if request["copied_from"]:
        _move_into_copy(request, scratch)
    os.chdir(request["folder"])
    sys.path[:0] = request["paths"] or [request["folder"]]
    module, _, name = request["target"].partition(":")
    target: Callable[..., Any] = getattr(importlib.import_module(module), name)
    loading.note_stages_in(scratch / answers.STAGE)
    _limit(request["memory_bytes"])
    return target(**request["arguments"])


def _move_into_copy(request: dict[str, Any], scratch: Path) -> None:
    """Make the copy that the job runs in; a confined job writes there and in its own home alone."""
    folder: str = request["folder"]
    copies.fill(Path(folder), request["copied_from"])
    if not request["is_confined"]:
        confinement.watch(str(scratch / answers.WRITES), folder)
        return
    os.environ.update(private_home(scratch))
    tempfile.tempdir = os.environ["TMPDIR"]
    own = (folder, str(scratch), *request["writable"])
    confinement.confine(own, str(scratch / answers.WRITES), folder)


def _explain(error: BaseException) -> tuple[str, str]:
    """The name of a failure (see `server.Failure`) and its reason."""
    if isinstance(error, loading.Refusal):
        return "refused", str(error)
    if isinstance(error, answers.MalformedAnswer):
        return "malformed", str(error)
    if loading.is_out_of_memory(error) or "out of memory" in str(error):
        return "memory", ""
    if isinstance(error, SystemExit):
        return "exited", f"called sys.exit({error.code!r}){loading.last_words()}"
    return "raised", f"raised {loading.describe(error)}"


if __name__ == "__main__":
    main()
