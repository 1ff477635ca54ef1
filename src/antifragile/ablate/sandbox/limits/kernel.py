"""Calls of the Linux kernel that Python's standard library does not have, made through libc.

Each raises an `OSError` where the kernel refuses it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from functools import cache

OWN_USERS, OWN_PROCESSES, OWN_MOUNTS = 0x1000_0000, 0x2000_0000, 0x2_0000
OWN_NETWORK, OWN_MESSAGES = 0x4000_0000, 0x0800_0000
NO_SUID, NO_DEVICES, BIND, RECURSIVE, PRIVATE = 2, 4, 4096, 16384, 1 << 18  # flags of `mount`

_SET_MOUNT = 442  # the same number on every processor
_HERE, _AND_BELOW, _READ_ONLY = -100, 0x8000, 1
_DEATH_SIGNAL, _SUBREAPER, _NO_NEW_PRIVILEGES = 1, 36, 38
_SET_INTERFACE_FLAGS, _UP = 0x8914, 0x49
_CAPABILITIES_VERSION = 0x2008_0522


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def call(number: int, *arguments: object) -> int:
    """Make a system call by its number; returns what it returned.

    Raises:
        OSError: The kernel refused it.
    """
    return _check(int(_libc().syscall(number, *arguments)), f"system call {number}")


def control(option: int, value: int = 0, further: int = 0) -> None:
    """Call `prctl`."""
    zero = ctypes.c_ulong(0)
    given = ctypes.c_ulong(value), ctypes.c_ulong(further)
    _check(_libc().prctl(option, *given, zero, zero), "prctl")


def unshare(kinds: int) -> None:
    """Move this process into new namespaces; of processes, its next child."""
    _check(_libc().unshare(kinds), "unshare")


def make_next_child_join(namespace: int, kind: int) -> None:
    """Move this process into a namespace by a descriptor; of processes, its next child."""
    _check(_libc().setns(namespace, kind), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount a file system, or a folder at another place."""
    arguments = [source.encode(), target.encode(), kind.encode() or None]
    _check(_libc().mount(*arguments, ctypes.c_ulong(flags), options.encode() or None), "mount")


class _MountAttributes(ctypes.Structure):
    """The kernel's `mount_attr`."""

    _fields_ = (
        ("set", ctypes.c_uint64),
        ("cleared", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("users", ctypes.c_uint64),
    )


def make_read_only(target: str) -> None:
    """Let nobody in this namespace write to a mount or to those below it."""
    _set_mount(target, _MountAttributes(set=_READ_ONLY), _AND_BELOW)


def make_writable(target: str) -> None:
    """Take back `make_read_only` for one mount."""
    _set_mount(target, _MountAttributes(cleared=_READ_ONLY), 0)


def _set_mount(target: str, attributes: _MountAttributes, flags: int) -> None:
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    call(_SET_MOUNT, _HERE, target.encode(), flags, ctypes.byref(attributes), size)


def end_with_parent() -> None:
    """Let this process be killed when its parent ends."""
    control(_DEATH_SIGNAL, 9)


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ends."""
    control(_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """Let no program that this process runs gain rights."""
    control(_NO_NEW_PRIVILEGES, 1)


def keep_capabilities(kept: int) -> None:
    """Drop all capabilities but some; for good after `forbid_new_privileges`.

    Args:
        kept: A bit for each.
    """
    header = struct.pack("Ii", _CAPABILITIES_VERSION, 0)
    low, high = kept & 0xFFFF_FFFF, kept >> 32
    data = struct.pack("6I", low, low, 0, high, high, 0)
    _check(_libc().capset(header, data), "capset")


def start_loopback() -> None:
    """Give a new network namespace its 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        fcntl.ioctl(door, _SET_INTERFACE_FLAGS, struct.pack("16sH14x", b"lo", _UP))
