"""The start of a job, and the end of all that it started.

    server -> job -> whatever it starts              in a namespace of processes
    server -> keeper -> job -> whatever it starts    elsewhere

A job is the first process of its namespace: with it the kernel ends all others, and it sees none
beyond. (The kernel also spares it signals that it sends itself: `abort` ends it as SIGSEGV.)
Elsewhere a keeper adopts what the job leaves behind, and ends that when the job has ended.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from antifragile.ablate.sandbox.limits import kernel
from antifragile.ablate.sandbox.limits.group import end_descendants
from antifragile.ablate.sandbox.limits.mechanisms import Mechanisms
from antifragile.ablate.sandbox.limits.namespaces import mount_proc


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A job that runs.

    Args:
        pid: The job, or its keeper.
        ending: Descriptor of a pipe in which the keeper says how the job ended.
        held: The mechanisms in force.
    """

    pid: int
    ending: int
    held: Mechanisms

    def has_ended(self) -> bool:
        """Whether it has, and all that it started."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """End it and all that it started."""
        end_descendants(self.pid)  # those with a session of their own too
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)

    def exit_code(self) -> int:
        """Wait for the end; the job's exit code, or a signal's number below zero."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        said = os.read(self.ending, 16)
        os.close(self.ending)
        return int(said) if said else code


def start(run: Callable[[], None], held: Mechanisms, unneeded: Sequence[int]) -> Kept:
    """Start a job.

    Args:
        run: Called in the job, which ends when it returns.
        held: The mechanisms in force.
        unneeded: Descriptors that a job must not have.
    """
    ours, theirs = os.pipe()
    parent, own = os.getpid(), -1
    if held.process_namespace:
        own = os.open("/proc/self/ns/pid", os.O_RDONLY)
        kernel.unshare(kernel.OWN_PROCESSES)
    child = os.fork()
    if not child:
        try:
            for number in (ours, *unneeded, *([own] if own >= 0 else [])):
                os.close(number)
            _begin(None if held.process_namespace else parent)
            if held.process_namespace:
                kernel.unshare(kernel.OWN_MOUNTS | kernel.OWN_MESSAGES)
                mount_proc()
            if held.needs_keeper:
                _keep(run, theirs)
            os.close(theirs)
            run()
        finally:
            os._exit(1)
    os.close(theirs)
    if own >= 0:
        kernel.make_next_child_join(own, kernel.OWN_PROCESSES)
        os.close(own)
    return Kept(pid=child, ending=ours, held=held)


def _begin(parent: int | None) -> None:
    """Give this process a session of its own, no terminal, no output; let it end with the server.

    Args:
        parent: Its parent; None where that lies beyond its namespace.
    """
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    end_with(parent)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def end_with(parent: int | None) -> None:
    """Let this process end when its parent does, where the system offers it."""
    with suppress(OSError, AttributeError):  # of another system
        kernel.end_with_parent()
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def _keep(run: Callable[[], None], told: int) -> None:
    """Start the job, wait for it, and end what it left; does not return."""
    kernel.adopt_orphans()
    own, job = os.getpid(), os.fork()
    if not job:
        os.close(told)
        os.setsid()
        end_with(own)
        run()
        os._exit(1)
    while (ended := os.waitpid(-1, 0))[0] != job:
        pass
    os.write(told, str(os.waitstatus_to_exitcode(ended[1])).encode())
    end_descendants(own)
    os._exit(0)
