"""The owner of a study: the one process that may write it, named by a row of the store itself.

    claim -> every writing transaction confirms the token and renews the heartbeat -> release

A dead owner is replaced. On one machine the process tells: its number and when it started. Of
another machine, another container, or before a restart, only the heartbeat is known; an owner that
was silent for a minute counts as dead there. One that was stopped meanwhile, and replaced,
finds another token when it goes on, and ends without writing.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from antifragile.errors import AntifragileError, StoreError, WorldError
from antifragile.store.database import schema
from antifragile.store.writing import utc_now

HEARTBEAT_S = 10.0
SILENT_S = 60.0
_ours: set[str] = set()  # tokens that this process holds


class OwnedKind(StrEnum):
    """The kind of a study that is owned."""

    STUDY = "study"
    ABLATION = "ablation"


@dataclass(frozen=True, kw_only=True)
class Ownership:
    """The right to write one study.

    Args:
        kind: The kind of study.
        name: Its name.
        token: The secret of this claim.
        may_mix: Whether records of other conditions may stand beside the ones written.
    """

    kind: OwnedKind
    name: str
    token: str
    may_mix: bool = False


@dataclass(frozen=True, kw_only=True)
class _Process:
    """A process as the store names it."""

    host: str
    boot_id: str
    namespace: str
    process_id: int
    process_start: str


def claim(connection: Connection, kind: OwnedKind, name: str, *, may_mix: bool) -> Ownership:
    """Become the owner of a study, in a transaction that excludes other claims.

    Raises:
        StoreError: It has a living owner, whom the message names.
    """
    row = _row(connection, kind, name)
    if row is not None and _is_alive(row, _now(connection)):
        raise StoreError(
            f"{_shown(kind, name)} is being run by {_shown_owner(row)}; wait for it, or stop it "
            "first."
        )
    table, token = schema.owners, uuid.uuid4().hex
    connection.execute(table.delete().where(table.c.kind == kind, table.c.name == name))
    values = {
        "kind": str(kind),
        "name": name,
        "token": token,
        "since": utc_now(),
        "heartbeat": _now(connection),
        **asdict(_this_process()),
    }
    connection.execute(table.insert().values(values))
    _ours.add(token)
    return Ownership(kind=kind, name=name, token=token, may_mix=may_mix)


def confirm(connection: Connection, owner: Ownership) -> None:
    """Renew the heartbeat; the row stays locked until the transaction ends.

    Raises:
        WorldError: Another process owns the study by now, or it was released.
    """
    table = schema.owners
    beat = table.update().where(*_is_of(owner)).values(heartbeat=_now(connection))
    if connection.execute(beat).rowcount != 1:
        row = _row(connection, owner.kind, owner.name)
        by = "nobody runs it now" if row is None else f"it is run by {_shown_owner(row)}"
        raise WorldError(
            f"{_shown(owner.kind, owner.name)} was taken from this process while it did not "
            f"answer ({by}); what it had stored stays, nothing more is written."
        )


def release(connection: Connection, owner: Ownership) -> None:
    """Give the study free; nothing if another process owns it by now."""
    connection.execute(schema.owners.delete().where(*_is_of(owner)))
    forget(owner)


def forget(owner: Ownership) -> None:
    """Hold a claim no longer in this process, also where the store could not be told."""
    _ours.discard(owner.token)


@contextmanager
def beating(beat: Callable[[], None] | None) -> Iterator[None]:
    """Renew a heartbeat from a thread; a study may train for long between two writes.

    Args:
        beat: Renews it. A failure is left to the next writing transaction, which says it.
    """
    stop = threading.Event()

    def run(renew: Callable[[], None]) -> None:
        while not stop.wait(HEARTBEAT_S):
            with suppress(AntifragileError):
                renew()

    thread = threading.Thread(target=run, args=[beat], daemon=True) if beat else None
    if thread:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread:
            thread.join()


def _is_of(owner: Ownership) -> tuple[Any, ...]:
    table = schema.owners.c
    return table.kind == owner.kind, table.name == owner.name, table.token == owner.token


def _row(connection: Connection, kind: OwnedKind, name: str) -> Mapping[str, Any] | None:
    table = schema.owners
    query = select(table).where(table.c.kind == kind, table.c.name == name)
    row = connection.execute(query).mappings().first()
    return None if row is None else dict(row)


def _now(connection: Connection) -> float:
    """Seconds since 1970 by a clock that all who reach the store share."""
    if connection.dialect.name == "postgresql":
        clock = select(func.extract("epoch", func.clock_timestamp()))
        return float(connection.execute(clock).scalar_one())
    return time.time()


def _is_alive(row: Mapping[str, Any], now: float) -> bool:
    me = _this_process()
    is_visible = me.boot_id and (row["boot_id"], row["namespace"]) == (me.boot_id, me.namespace)
    if not is_visible:  # another machine or container: its process ids are not ours
        return bool(abs(now - row["heartbeat"]) < SILENT_S)
    if row["process_id"] == me.process_id and row["process_start"] == me.process_start:
        return row["token"] in _ours
    return bool(_process_start(row["process_id"]) == row["process_start"])


def _this_process() -> _Process:
    number = os.getpid()
    return _Process(
        host=platform.node(),
        boot_id=_boot_id(),
        namespace=_namespace(),
        process_id=number,
        process_start=_process_start(number),
    )


@cache
def _boot_id() -> str:
    """A name of the machine's present run; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _said_by("sysctl", "-n", "kern.boottime") if sys.platform == "darwin" else ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _process_start(number: int) -> str:
    """The time a process started, in words of the system; empty if it does not run."""
    if not Path("/proc/self/stat").exists():
        return _said_by("ps", "-o", "lstart=", "-p", str(number))
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    state, start = fields[0], fields[19]
    return "" if state in "ZX" else start


def _said_by(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()[:80]


def _shown(kind: OwnedKind, name: str) -> str:
    return f"{'ablation ' if kind is OwnedKind.ABLATION else ''}study {name!r}"


def _shown_owner(row: Mapping[str, Any]) -> str:
    here = "this machine" if row["boot_id"] == _boot_id() else row["host"]
    return f"process {row['process_id']} on {here} since {row['since']}"
