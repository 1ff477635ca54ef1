"""Namespaces: a view of the system of one's own; processes, files and network beyond are not there.

    server process:  own users (in which it has all rights), own mounts, own processes
    each job:        processes of its own below the server's, mounts in which all but its folders
                     is read-only, a network that leads nowhere; then it gives up all rights

No rights are needed where the system lets its users make namespaces. A process enters when it is
new and has no threads.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from antifragile.ablate.sandbox.limits import kernel, landlock, seccomp
from antifragile.ablate.sandbox.limits.group import SHARED_MEMORY
from antifragile.ablate.sandbox.limits.mechanisms import Mechanisms

_READ_ALL = 1 << 1  # CAP_DAC_OVERRIDE: what root reads, root's jobs read
_MOUNTS, _PROCESSES, _NETWORK = 1, 2, 4  # found by a try
_PLACES_OF_SOCKETS, _MOST_LOOKED_AT = ("/run", "/var/run", "/tmp", "/var/tmp"), 20_000


def available(allowed: Mechanisms) -> Mechanisms:
    """Find out which mechanisms this system offers, by trying each in a process thrown away.

    Args:
        allowed: Those that are tried.
    """
    version = landlock.version()
    found = max(0, _ended_with(_try_namespaces)) if allowed.needs_users else 0
    offered = Mechanisms(
        process_namespace=bool(found & _PROCESSES),
        mount_namespace=bool(found & _MOUNTS),
        network_namespace=bool(found & _NETWORK),
        landlock=version if version >= landlock.KEEPS_FILES else 0,
        call_filter=_ended_with(_try_filter) == 0,
        adoption=_ended_with(_try_adoption) == 0,
        shares=os.access("/proc/self/smaps_rollup", os.R_OK),
    )
    return offered.and_also(allowed)


def enter(allowed: Mechanisms) -> Mechanisms:
    """Move this process into namespaces of its own, and return the mechanisms in force.

    With processes of its own it goes on in a child, for which this process waits.
    """
    held = available(allowed)
    landlock.devices()
    if held.needs_users:
        enter_mounts()
    if held.process_namespace:
        kernel.unshare(kernel.OWN_PROCESSES)
        child = os.fork()
        if child:
            os._exit(_waited_for(child))
        kernel.end_with_parent()
        mount_proc()
    if held.needs_users:
        _forbid_further_users()
    if held.mount_namespace:
        _hide_sockets()
    return held


def enter_mounts() -> None:
    """Move this process into mounts of its own, which nobody else sees.

    Raises:
        OSError: The system does not let its users do so.
    """
    _own_users()
    kernel.unshare(kernel.OWN_MOUNTS)
    kernel.mount("none", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)


def mount_proc() -> None:
    """Show the processes of this namespace in /proc."""
    kernel.mount("proc", "/proc", "proc", kernel.NO_SUID | kernel.NO_DEVICES)


def isolate(folders: Sequence[str], held: Mechanisms, memory_bytes: int) -> None:
    """Leave this process some folders to write in, no network but its own, and no rights.

    Args:
        folders: The folders.
        held: The mechanisms in force.
        memory_bytes: Size of the shared memory that it can make by name.
    """
    if held.network_namespace:
        kernel.unshare(kernel.OWN_NETWORK)
        kernel.start_loopback()
    if held.mount_namespace:
        if not held.process_namespace:  # else it has them
            kernel.unshare(kernel.OWN_MOUNTS)
        _make_all_read_only_but(folders, memory_bytes)
    kernel.forbid_new_privileges()
    kernel.keep_capabilities(_READ_ALL if os.geteuid() == 0 else 0)


def _make_all_read_only_but(folders: Sequence[str], memory_bytes: int) -> None:
    places = list(folders)
    for folder in folders:
        kernel.mount(folder, folder, flags=kernel.BIND | kernel.RECURSIVE)
    if os.path.isdir(SHARED_MEMORY):
        flags = kernel.NO_SUID | kernel.NO_DEVICES
        kernel.mount("shm", SHARED_MEMORY, "tmpfs", flags, f"size={memory_bytes}")
        places.append(SHARED_MEMORY)
    kernel.make_read_only("/")
    for place in places:
        kernel.make_writable(place)


def _ended_with(what: Callable[[], int]) -> int:
    """Run something in a child; its exit code, or -1 where it failed."""
    child = os.fork()
    if not child:
        try:
            os._exit(what())
        finally:
            os._exit(255)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if 0 <= code < 255 else -1


def _try_namespaces() -> int:
    found = 0
    with suppress(OSError):
        enter_mounts()
        with suppress(OSError):
            kernel.unshare(kernel.OWN_PROCESSES | kernel.OWN_MESSAGES)
            found |= _PROCESSES if _ended_with(_try_proc) == 0 else 0
        with suppress(OSError):
            kernel.unshare(kernel.OWN_NETWORK)
            kernel.start_loopback()
            found |= _NETWORK
        with suppress(OSError):
            kernel.make_read_only("/")
            found |= _MOUNTS
    return found


def _try_proc() -> int:
    mount_proc()
    return 0


def _try_filter() -> int:
    seccomp.refuse_calls()
    return 0


def _try_adoption() -> int:
    kernel.adopt_orphans()
    return 0


def _waited_for(child: int) -> int:
    """Wait for a child that does this process's work, and pass on that it is to end."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    return max(0, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _own_users() -> None:
    """Make a namespace of users in which this one, and those it knows if it is root, are there."""
    user, group = os.geteuid(), os.getegid()
    mapper = _start_mapper() if user == 0 else None
    kernel.unshare(kernel.OWN_USERS)
    if mapper is not None and mapper():
        return
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _start_mapper() -> Callable[[], bool]:
    """Start a process that, when called, maps every user and group of here to itself."""
    names, target = ("uid_map", "gid_map"), os.getpid()
    maps = {name: _identity(Path("/proc/self", name).read_text()) for name in names}
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(theirs)
            os.read(ours, 1)
            for name, text in maps.items():
                Path(f"/proc/{target}", name).write_text(text)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(ours)

    def map_all() -> bool:
        os.close(theirs)
        return os.waitpid(child, 0)[1] == 0

    return map_all


def _identity(text: str) -> str:
    rows = [line.split() for line in text.splitlines()]
    return "\n".join(f"{inner} {inner} {count}" for inner, _, count in rows)


def _forbid_further_users() -> None:
    """Let no job make a namespace of users, in which it would have rights again."""
    with suppress(OSError):
        Path("/proc/sys/user/max_user_namespaces").write_text("0")


def _hide_sockets() -> None:
    """Cover the sockets of services (of Docker, D-Bus, agents), as read-only ones still answer."""
    for path in set(_sockets()):
        with suppress(OSError):
            kernel.mount("/dev/null", path, flags=kernel.BIND)


def _sockets() -> Iterator[str]:
    """Yield sockets that the kernel lists, and those that lie where services put them.

    The list leaves out those of other networks, and names some by a path that is relative.
    """
    with suppress(OSError):
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
            path = line.split(maxsplit=7)[7:]
            if path and path[0].startswith("/") and Path(path[0]).is_socket():
                yield path[0]
    queue, looked_at = [*_PLACES_OF_SOCKETS, os.environ.get("XDG_RUNTIME_DIR", "/run")], 0
    while queue and looked_at < _MOST_LOOKED_AT:
        with suppress(OSError), os.scandir(queue.pop(0)) as found:
            for entry in islice(found, _MOST_LOOKED_AT):
                looked_at += 1
                if entry.is_dir(follow_symlinks=False):
                    queue.append(entry.path)
                elif not entry.is_file() and stat.S_ISSOCK(entry.stat().st_mode):
                    yield entry.path
