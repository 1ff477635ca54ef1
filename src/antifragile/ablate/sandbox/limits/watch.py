"""A look, again and again, at what a job's processes take together."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from antifragile.ablate.sandbox.limits.group import (
    family,
    memory_of,
    nameless_bytes,
    resident_bytes,
    shared_memory_bytes,
)
from antifragile.ablate.sandbox.limits.mechanisms import Mechanisms
from antifragile.ablate.sandbox.limits.trees import bytes_below

_WALK_AGAIN_S, _WALK_SHARE = 0.2, 10  # a walk takes a tenth of the time at most


@dataclass(kw_only=True)
class Watch:
    """The limits of a job's group, and how far it is looked at.

    Args:
        most_memory: Bytes.
        most_written: Bytes in its folders, and in files that it removed but holds open.
        most_processes: Number of its processes.
        folders: The folders in which it may write.
        held: The mechanisms in force.
    """

    most_memory: int
    most_written: int
    most_processes: int
    folders: Sequence[str]
    held: Mechanisms
    _walks_at: float = field(default=0.0, repr=False)
    _count: _Count | None = field(default=None, repr=False)

    def excess(self, pid: int) -> str:
        """Name the limit that the group of a process exceeds; "" where there is none."""
        if not self.held.holds_group:
            return "memory" if resident_bytes(pid) > self.most_memory else ""
        pids = family(pid, self.most_processes + 1)
        if len(pids) > self.most_processes + 1:  # there may be a keeper
            return "processes"
        in_memory, on_disk = nameless_bytes(pids)
        if self.held.mount_namespace:
            in_memory = max(in_memory, shared_memory_bytes(pids))
        if self._takes_too_much(pids, in_memory):
            return "memory"
        return "files" if self._writes_too_much(on_disk) else ""

    def close(self) -> None:
        """Stop counting."""
        if self._count is not None:
            self._count.close()

    def _takes_too_much(self, pids: Sequence[int], in_memory: int) -> bool:
        if sum(map(resident_bytes, pids)) + in_memory <= self.most_memory:
            return False
        if not self.held.shares:
            return memory_of(pids, in_memory, shares=False) > self.most_memory
        if self._count is None:
            self._count = _Count(pids, in_memory)
        found = self._count.result()
        if found is not None:
            self._count = None
        return (found or 0) > self.most_memory

    def _writes_too_much(self, nameless: int) -> bool:
        began = time.monotonic()
        if began < self._walks_at:
            return False
        size = nameless + bytes_below(self.folders, self.most_written)
        now = time.monotonic()
        self._walks_at = now + max(_WALK_AGAIN_S, _WALK_SHARE * (now - began))
        return size > self.most_written


class _Count:
    """A count of shared memory by a process of its own; a group that forks all the time blocks it.

    Args:
        pids: The group.
        in_memory: Bytes of its nameless files in memory.
    """

    def __init__(self, pids: Sequence[int], in_memory: int) -> None:
        self._ours, theirs = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            try:
                signal.set_wakeup_fd(-1)
                os.write(theirs, str(memory_of(pids, in_memory, shares=True)).encode())
            finally:
                os._exit(0)
        os.close(theirs)

    def result(self) -> int | None:
        """The bytes, 0 where the count failed; None while it goes on."""
        if not select.select([self._ours], [], [], 0.0)[0]:
            return None
        said = os.read(self._ours, 32)
        self.close()
        return int(said or 0)

    def close(self) -> None:
        """End the count."""
        os.close(self._ours)
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
