"""The executors by name: those of this folder, a line each, and those of other packages."""

from __future__ import annotations

from antifragile._plugins import add_plugins
from antifragile.errors import UsageError, nearest
from antifragile.study.executors.base import ExecutorKind
from antifragile.study.executors.local import LocalExecutor
from antifragile.study.executors.serial import SerialExecutor

EXECUTORS: dict[str, ExecutorKind] = {
    "serial": ExecutorKind(make=SerialExecutor, in_process=True),
    "local": ExecutorKind(make=LocalExecutor),
}


def find_executor(name: str) -> ExecutorKind:
    """The kind of executor of this name.

    Raises:
        UsageError: There is none.
    """
    if name not in EXECUTORS:
        add_plugins("antifragile.executors", ExecutorKind, EXECUTORS)
    if name not in EXECUTORS:
        raise UsageError(f"executor {name!r} is unknown; {nearest(name, EXECUTORS)}")
    return EXECUTORS[name]
