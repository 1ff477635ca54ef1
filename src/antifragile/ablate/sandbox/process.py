"""The server process: it imports the preloads, then forks one limited child per request.

Run by `server.Server` as ``python -m antifragile.ablate.sandbox.process START``, START in JSON.
Requests come as JSON lines on stdin, endings go as JSON lines to stdout; a child leaves its answer
in the scratch folder that the request names. When stdin closes, all ends: children are killed. A
request to import packages is answered by a successor, a fork that did so and serves from then on.

    child: own session, no terminal, no output -> copy, confinement -> folder -> limits
           -> target(**arguments) -> answer

Linux counts in RLIMIT_DATA what a process may write in private: heap, anonymous maps, stacks. Torch
reserves much address space (RLIMIT_AS would count that), but its data is 180 MB after the import;
the limit is set as far above that as the job allows. What all processes of a job take together, in
memory and on the disk, is watched from outside (see `limits.group`).
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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from antifragile.ablate.sandbox import answers, confinement, copies, loading, successor
from antifragile.ablate.sandbox.home import private_home
from antifragile.ablate.sandbox.limits import group, keeper, kernel, namespaces, watch
from antifragile.ablate.sandbox.limits.mechanisms import Mechanisms

_POLL_S = 0.1  # how often it is looked at what a job's processes take together
_CHUNK = 1 << 16


@dataclass
class _Child:
    """A job that runs."""

    number: int
    kept: keeper.Kept
    started: float
    deadline: float
    watch: watch.Watch
    stopped: str = ""  # the limit for which the server ended it


def main() -> None:
    """Serve until stdin closes."""
    start = json.loads(sys.argv[1])
    held = namespaces.enter(Mechanisms(**start["mechanisms"]))
    gc.disable()  # until the fork, and no module is collected: children share their pages
    for name in start["preload"]:
        importlib.import_module(name)
    gc.freeze()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    _write_line({"held": asdict(held)})
    _serve(start["workers"], held)


def _serve(workers: int, held: Mechanisms) -> None:
    woken, wake = _wake_pipe()
    own, is_successor = os.getpid(), False
    waiting: list[dict[str, Any]] = []
    children: dict[int, _Child] = {}
    signal.signal(signal.SIGTERM, lambda *_: _end(children))
    unread = b""
    if held.needs_keeper:
        kernel.adopt_orphans()
    while True:
        while waiting and _may_start(waiting[0], children, workers):
            request = waiting.pop(0)
            if "import" in request:
                successor.import_quietly(request["import"])
                _write_line({"imported": request["import"]})
            elif "packages" in request:
                kept = successor.hand_over(*request["packages"])
                if os.getpid() != own:
                    own, is_successor = os.getpid(), True
                    os.close(woken)
                    woken, wake = _wake_pipe(wake)
                    if held.needs_keeper:
                        kernel.adopt_orphans()
                _write_line({"packages": kept, "is_successor": is_successor})
            elif "give_back" in request:
                os._exit(successor.GIVES_BACK)
            else:
                endings = [child.kept.ending for child in children.values()]
                child = _start(request, (woken, wake, *endings), held)
                children[child.kept.pid] = child
        ready = select.select([0, woken], [], [], _seconds_left(children))[0]
        if 0 in ready:
            chunk = os.read(0, _CHUNK)
            if not chunk:
                _end(children)
            *lines, unread = (unread + chunk).split(b"\n")
            for request in map(json.loads, lines):
                if "stop" in request:
                    waiting = _stop(waiting, children)
                else:
                    waiting.append(request)
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


def _start(request: dict[str, Any], pipes: Sequence[int], held: Mechanisms) -> _Child:
    """Fork a child for a request."""
    now = time.monotonic()
    kept = keeper.start(partial(_answer, request, held), held, pipes)
    own = group.own_bytes() if held.holds_group else group.resident_bytes(os.getpid())
    return _Child(
        number=request["id"],
        kept=kept,
        started=now,
        deadline=now + request["timeout_s"],
        watch=watch.Watch(
            most_memory=own + request["memory_bytes"],
            most_written=request["most_written"],
            most_processes=request["processes"],
            folders=_own_folders(request),
            held=held,
        ),
    )


def _own_folders(request: dict[str, Any]) -> list[str]:
    """The folders in which a job in a copy may write."""
    copy = [request["folder"]] if request["copied_from"] else []
    return [request["scratch"], *copy, *request["writable"]]


def _seconds_left(children: dict[int, _Child]) -> float | None:
    deadlines = [child.deadline for child in children.values() if not child.stopped]
    return min(_POLL_S, max(0.0, min(deadlines) - time.monotonic())) if deadlines else None


def _stop_over_limit(children: dict[int, _Child]) -> None:
    """End children over their time, or over their share of the machine with all they started."""
    for pid, child in children.items():
        if child.stopped:
            continue
        if time.monotonic() >= child.deadline:
            child.stopped = "timeout"
        else:
            child.stopped = child.watch.excess(pid)
        if child.stopped:
            child.kept.kill()


def _stop(waiting: list[dict[str, Any]], children: dict[int, _Child]) -> list[dict[str, Any]]:
    """End all jobs; return the requests that wait and are none."""
    for child in children.values():
        child.stopped = child.stopped or "stopped"
        child.kept.kill()
    for request in waiting:
        if "id" in request:
            _write_line({"id": request["id"], "how": "stopped", "code": 0, "seconds": 0.0})
    return [request for request in waiting if "id" not in request]


def _reap(children: dict[int, _Child]) -> None:
    """Report the children that ended, and end the processes they started."""
    ended = [child for child in children.values() if child.kept.has_ended()]
    for child in ended:
        child.kept.kill()  # its own children; not yet waited for, so the number is still its own
        child.watch.close()
        code = child.kept.exit_code()
        del children[child.kept.pid]
        if child.kept.held.needs_keeper:  # which the job may have killed
            group.end_children_but(children)
        how = child.stopped or ("exit" if code >= 0 else "signal")
        seconds = time.monotonic() - child.started
        _write_line({"id": child.number, "how": how, "code": abs(code), "seconds": seconds})


def _end(children: dict[int, _Child]) -> None:
    for child in children.values():
        child.kept.kill()
    os._exit(0)


def _limit(memory_bytes: int, file_bytes: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if file_bytes is not None:
        _lower(resource.RLIMIT_FSIZE, file_bytes)
    _lower(resource.RLIMIT_DATA, _private_bytes() + memory_bytes)


def _lower(limit: int, most: int) -> None:
    hard = resource.getrlimit(limit)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(limit, (most, hard))


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


def _answer(request: dict[str, Any], held: Mechanisms) -> None:
    """Call the target; leave the value it returned, or the reason for none, in a file."""
    scratch = Path(request["scratch"])
    path = scratch / answers.ANSWER
    try:
        answers.write_value(path, _call(request, scratch, held))
    except BaseException as error:
        _lift_limit()
        answers.write_failure(path, *_explain(error))
    os._exit(0)


def _call(request: dict[str, Any], scratch: Path, held: Mechanisms) -> Any:
    gc.enable()
    sys.dont_write_bytecode = True
    sys.stderr = loading.LastWords()
    sys.argv[:] = [request["script"]]
    if request["copied_from"]:
        _move_into_copy(request, scratch, held)
    os.chdir(request["folder"])
    sys.path[:0] = request["paths"] or [request["folder"]]
    module, _, name = request["target"].partition(":")
    target: Callable[..., Any] = getattr(importlib.import_module(module), name)
    loading.note_stages_in(scratch / answers.STAGE)
    _limit(request["memory_bytes"], request["most_written"] if held.holds_group else None)
    return target(**request["arguments"])


def _move_into_copy(request: dict[str, Any], scratch: Path, held: Mechanisms) -> None:
    """Make the copy that the job runs in; a confined job writes there and in its own home alone."""
    folder: str = request["folder"]
    notes = str(scratch / answers.WRITES)
    copies.fill(Path(folder), request["copied_from"])
    if not request["is_confined"]:
        confinement.watch(notes, folder)
        return
    os.environ.update(private_home(scratch))
    tempfile.tempdir = os.environ["TMPDIR"]
    confinement.confine(_own_folders(request), notes, folder, held, request["memory_bytes"])


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
