"""Trials of the limits that hold model code: which work on this machine, and by which means.

    python -m antifragile.ablate.sandbox.limits.probe    the mechanisms, as JSON

The trials take place in a process that is thrown away.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

from antifragile.ablate.sandbox.limits import landlock
from antifragile.ablate.sandbox.limits.mechanisms import Mechanisms
from antifragile.ablate.sandbox.limits.namespaces import available

_TIMEOUT_S = 30


@dataclass(frozen=True, kw_only=True)
class HeldLimit:
    """A limit of the processes that run a model's code.

    Args:
        name: The limited thing.
        strength: "full", "weaker" or "none".
        mechanism: The means by which it is held here, and what these lack.
    """

    name: str
    strength: str
    mechanism: str


def find_mechanisms() -> Mechanisms:
    """Try every mechanism in a process of its own; those that work here."""
    command = [sys.executable, "-P", "-m", __name__]
    done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=True)
    return Mechanisms(**json.loads(done.stdout))


def held_limits(found: Mechanisms) -> tuple[HeldLimit, ...]:
    """Say how each limit is held by these mechanisms."""
    rows = (_ending(found), _memory(found), _files(found), _network(found), _others(found))
    return tuple(
        HeldLimit(name=name, strength=strength, mechanism=mechanism)
        for name, strength, mechanism in (*rows, _sizes(found))
    )


_Row = tuple[str, str, str]


def _ending(found: Mechanisms) -> _Row:
    name = "end of all processes"
    if found.process_namespace:
        return name, "full", "own processes; the kernel ends them with it"
    if found.adoption:
        return name, "weaker", "a sweep; what fights back may get away"
    return name, "none", "process group; other sessions stay"


def _memory(found: Mechanisms) -> _Row:
    name = "memory of the group"
    if not found.holds_group:
        return name, "weaker", "of each process, not of all together"
    if found.shares and not found.mount_namespace:
        return name, "weaker", "shares of all (PSS), but named shared memory"
    if found.shares and not found.call_filter:
        return name, "weaker", "shares of all (PSS), but SysV memory, memfds"
    if found.shares:
        return name, "full", "shares of all (PSS), ten times a second"
    return name, "weaker", "sum of all; what they share counts twice"


def _files(found: Mechanisms) -> _Row:
    name = "writes to its own folders"
    if found.mount_namespace and found.landlock:
        how = f"read-only mounts, Landlock {found.landlock}"
        return name, "full", how
    if found.mount_namespace:
        return name, "full", "read-only mounts"
    if found.landlock:
        how = f"Landlock {found.landlock}; chmod by a program passes"
        return name, "weaker", how
    return name, "weaker", "Python's hook; native code may write"


def _network(found: Mechanisms) -> _Row:
    name = "no network but loopback"
    if found.network_namespace and found.mount_namespace:
        return name, "weaker", "own network; sockets in odd places pass"
    if found.network_namespace:
        return name, "weaker", "own network; sockets that are files pass"
    if found.landlock >= landlock.KEEPS_TCP:
        return name, "weaker", "Landlock: no TCP, no loopback; UDP passes"
    return name, "none", "nothing holds it"


def _others(found: Mechanisms) -> _Row:
    name = "other processes untouched"
    if found.process_namespace:
        return name, "full", "own processes; no others are seen"
    if found.landlock >= landlock.KEEPS_SIGNALS:
        return name, "full", "Landlock: no signals, no tracing"
    if found.landlock:
        return name, "weaker", "Landlock: no tracing; signals pass"
    return name, "none", "signals and tracing pass"


def _sizes(found: Mechanisms) -> _Row:
    name = "size and number of files"
    if found.holds_group:
        return name, "full", "on each and on all, five times a second"
    return name, "none", "nothing holds it"


if __name__ == "__main__":
    print(json.dumps(asdict(available(Mechanisms()))))
