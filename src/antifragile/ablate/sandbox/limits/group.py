"""The processes of a job as one group: who they are, what they hold, and their end."""

from __future__ import annotations

import os
import resource
import signal
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

SHARED_MEMORY = "/dev/shm"
_PAGE = resource.getpagesize()
_SWEEP_S = 5.0


def family(pid: int, most: int = 100_000) -> list[int]:
    """List a process and its descendants, at most so many and one more."""
    found = [pid]
    for member in found:
        if len(found) > most:
            break
        found += _children(member)
    return found


def _children(pid: int) -> Iterator[int]:
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                yield from map(int, file.read().split())
    except OSError:  # ended meanwhile
        return


def end_descendants(pid: int) -> None:
    """Kill all descendants of a process that adopts them, as long as there are any."""
    until = time.monotonic() + _SWEEP_S
    while (found := _living(family(pid)[1:])) and time.monotonic() < until:
        for member in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member, signal.SIGKILL)
        time.sleep(0.001)


def end_children_but(known: Collection[int]) -> None:
    """End what this process has adopted, and wait for it: all children but those it knows."""
    for pid in _children(os.getpid()):
        if pid not in known:
            end_descendants(pid)
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def end_marked(mark: str) -> None:
    """Kill this user's processes that were started with a variable, as long as there are any."""
    until = time.monotonic() + _SWEEP_S
    while (found := _living(_marked(mark.encode()))) and time.monotonic() < until:
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def _marked(mark: bytes) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                yield int(path.parent.name)


def _living(pids: Iterable[int]) -> list[int]:
    return [pid for pid in pids if _state(pid) not in ("", "Z", "X")]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return ""


def resident_bytes(pid: int) -> int:
    """Memory of a process, shared parts included; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def own_bytes() -> int:
    """Memory of this process that no file stands behind, shared with its children or not."""
    words = Path("/proc/self/statm").read_text().split()
    return (int(words[1]) - int(words[2])) * _PAGE


def _rollup(pid: int) -> dict[str, int]:
    """Bytes of a process's memory by kind, and its shares (Pss); empty where nobody says."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {name: int(value.split()[0]) * 1024 for name, value in (x.split(":") for x in lines)}


def memory_of(pids: Sequence[int], in_files: int, *, shares: bool) -> int:
    """Memory of a group, in which what several share counts once.

    Args:
        pids: Its processes.
        in_files: Size of their files in memory, mapped or not.
        shares: Whether the kernel is asked who shares what.
    """
    own = shared = 0
    for pid in pids:
        found = _rollup(pid) if shares else {}
        if found:
            own += found.get("Pss_Anon", found.get("Pss", 0)) + found.get("SwapPss", 0)
            shared += found.get("Pss_Shmem", 0)
        else:
            own += resident_bytes(pid)
    return own + max(shared, in_files)


def shared_memory_bytes(pids: Iterable[int]) -> int:
    """Bytes of the files in the shared memory that is a job's own; none where it has none.

    Args:
        pids: Its processes, the first of which is the job or its keeper.
    """
    found = 0
    for pid in islice(pids, 2):
        place = f"/proc/{pid}/root{SHARED_MEMORY}"
        with suppress(OSError):
            if os.stat(place).st_dev != os.stat(SHARED_MEMORY).st_dev:
                system = os.statvfs(place)
                found = max(found, (system.f_blocks - system.f_bfree) * system.f_frsize)
    return found


def nameless_bytes(pids: Iterable[int]) -> tuple[int, int]:
    """Bytes of the files without a name that processes hold open: in memory, and on a disk."""
    found: dict[tuple[int, int], tuple[bool, int]] = {}
    for pid in pids:
        with suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    link = f"/proc/{pid}/fd/{number}"
                    status = os.stat(link)
                    if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                        in_memory = os.readlink(link).startswith(("/memfd:", "/dev/shm/"))
                        size = status.st_blocks * 512
                        found[status.st_dev, status.st_ino] = in_memory, size
    sizes = list(found.values())
    return sum(n for here, n in sizes if here), sum(n for here, n in sizes if not here)
