"""A call of one of our functions that a child process is to make, its limits, and its end."""

from __future__ import annotations

import inspect
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from antifragile.ablate.sandbox.answers import Answer

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Job:
    """A call for a child: `target(**arguments)` with the folder as working directory.

    Args:
        target: A function at the top of a module, so that a child can import it by name; the
            module must not import the user's code.
        folder: Working directory.
        arguments: Plain data (JSON); what the function returns must be plain data as well.
        paths: First folders of the import path; `folder` where none are given.
        script: The one word of `sys.argv`: the file that the user would run.
        copied_from: Folders that the child copies into `folder`, later ones over earlier ones. The
            copy is removed when the job has ended.
        is_confined: Whether a job in a copy has a private HOME, and writes in its copy and
            `writable` alone.
        writable: Further folders of a confined job.
    """

    target: Callable[..., Any]
    folder: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    script: str = ""
    copied_from: tuple[str, ...] = ()
    is_confined: bool = True
    writable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that a child can import the target, and that the arguments are its own."""
        module, name = self.target.__module__, self.target.__qualname__
        if getattr(sys.modules.get(module), name, None) is not self.target or module == "__main__":
            raise ValueError(
                f"a child process cannot import {module}:{name}; "
                "a job needs a function at the top of a module."
            )
        inspect.signature(self.target).bind(**self.arguments)

    @property
    def reference(self) -> str:
        """The target as text: ``package.module:function``."""
        return f"{self.target.__module__}:{self.target.__qualname__}"


class Failure(StrEnum):
    """Reasons why a job has no answer."""

    REFUSED = "refused"  # our own code found something wrong, and says it in words
    RAISED = "raised"  # an exception nobody caught
    EXITED = "exited"  # sys.exit, os._exit
    CRASHED = "crashed"  # a signal: segmentation fault, abort
    TIMEOUT = "timeout"
    MEMORY = "memory"
    FILES = "files"
    PROCESSES = "processes"
    MALFORMED = "malformed"  # its answer is no plain data of the type that was declared


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one job.

    Args:
        timeout_s: Seconds from fork to end.
        memory_bytes: Growth of private memory allowed beyond the freshly forked process's, for each
            of its processes and for all together.
        files_bytes: Size of its files, of each and of all together; where 0 is given that of its
            memory, and 4 GiB at least.
        processes: Number of its processes at the same time.
    """

    timeout_s: float = 60.0
    memory_bytes: int = 4 * GIB
    files_bytes: int = 0
    processes: int = field(default_factory=lambda: max(64, 4 * (os.cpu_count() or 1)))

    @property
    def most_written(self) -> int:
        """The bytes that its files may have."""
        return self.files_bytes or max(self.memory_bytes, 4 * GIB)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of a job: `value`, or a failure with its reason as the predicate of a sentence."""

    value: Any = None
    failure: Failure | None = None
    reason: str = ""
    seconds: float = 0.0


def outcome_of(ended: dict[str, Any], answer: Answer | None, stage: str, limits: Limits) -> Outcome:
    """Turn how a job ended and what it answered into an outcome.

    Args:
        ended: The server process's words: "how", "code", "seconds".
        answer: The child's answer, if it left one.
        stage: The step it was at, in words.
        limits: Its limits.
    """
    seconds, where = ended["seconds"], f"{stage} " if stage else ""
    if ended["how"] == "timeout":
        failure, reason = Failure.TIMEOUT, f"did not end within {limits.timeout_s:g} s"
    elif answer is not None and ended["how"] == "exit":
        if answer.failure is None:
            return Outcome(value=answer.value, seconds=seconds)
        failure, reason = _told(answer.failure), answer.reason
        if failure is Failure.REFUSED:
            return Outcome(failure=failure, reason=reason, seconds=seconds)
    elif ended["how"] == "memory":
        failure, reason = Failure.MEMORY, ""
    elif ended["how"] == "files":
        most = f"{limits.most_written / GIB:.3g} GiB"
        failure, reason = Failure.FILES, f"wrote more files than the limit of {most}"
    elif ended["how"] == "processes":
        failure, reason = Failure.PROCESSES, f"started more than {limits.processes} processes"
    elif ended["how"] == "signal":
        failure, reason = Failure.CRASHED, f"crashed ({_signal_name(ended['code'])})"
    else:
        failure, reason = Failure.EXITED, f"ended the process with exit code {ended['code']}"
    if failure is Failure.MEMORY:
        reason = f"needed more than the memory limit of {limits.memory_bytes / GIB:.3g} GiB"
    return Outcome(failure=failure, reason=where + reason, seconds=seconds)


def _told(failure: str) -> Failure:
    """The failure that a child names; one that only we can see is none that it may name."""
    unseen = (Failure.TIMEOUT, Failure.CRASHED, Failure.FILES, Failure.PROCESSES)
    known = [item for item in Failure if item == failure and item not in unseen]
    return known[0] if known else Failure.MALFORMED


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
