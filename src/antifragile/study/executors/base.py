"""The interface of executors: they run the tasks of a study, and yield each one when it is done.

Results do not travel through an executor: whoever runs a task writes to the store itself, so a
kill of anyone loses at most a few seconds of work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from antifragile.data.splits import Dataset
from antifragile.store.store import Store
from antifragile.study.tasks import Task


class Executor(Protocol):
    """Runs tasks in whatever order and place; yields each when its trials are in the store."""

    def run(self, tasks: Sequence[Task]) -> Iterator[Task]:
        """Run the tasks to their end."""
        ...

    def running(self) -> list[str]:
        """Labels of the tasks being worked on now, for displays."""
        ...


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The means that an executor may use.

    Args:
        workers: Number of tasks to run at a time.
        store: The open store of the driver; other processes open their own by `Task.store_url`.
        data: The study's data set on the CPU; other processes load their own.
        device: Where the tasks compute.
    """

    workers: int
    store: Store
    data: Dataset
    device: str


@dataclass(frozen=True, kw_only=True)
class ExecutorKind:
    """A kind of executor, as the registry knows it.

    Args:
        make: Makes one for a run.
        in_process: Whether it runs tasks in this process, so that a store in memory serves.
    """

    make: Callable[[Resources], Executor]
    in_process: bool = False
