"""The serial executor: tasks one after another in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from antifragile.study.executors.base import Resources
from antifragile.study.tasks import Task, run_task


class SerialExecutor:
    """Runs tasks one after another in this process, on an open store and loaded data."""

    def __init__(self, resources: Resources) -> None:
        self._store, self._data = resources.store, resources.data.to(resources.device)
        self._current: Task | None = None

    def run(self, tasks: Sequence[Task]) -> Iterator[Task]:
        """Run the tasks in order."""
        for task in tasks:
            self._current = task
            run_task(task, self._store, self._data)
            self._current = None
            yield task

    def running(self) -> list[str]:
        """The current task."""
        current = self._current
        return [current.label] if current else []
