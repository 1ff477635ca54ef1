"""Landlock: the kernel holds a process back for good, natively and with all that it starts.

Linux 5.13 and later, no rights needed. No file outside some folders is written, made, renamed or
removed; since version 4 there is no TCP (loopback included), since 6 no signal to a process outside
and no abstract socket of one.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from antifragile.ablate.sandbox.limits import kernel

KEEPS_FILES, KEEPS_TCP, KEEPS_SIGNALS = 3, 4, 6  # versions since which it does

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same number on every processor
_BENEATH = 1
_WRITE, _TRUNCATE = 1 << 1, 1 << 14
_RIGHTS = 0b110_0000_0000_0000 | 0b1_1111_1111_0010  # write files; make and remove entries; move
_TCP, _SIGNALS_AND_SOCKETS = 0b11, 0b11
_DEVICES = (  # that all may use; no disk and no terminal is among them
    *("null", "zero", "full", "random", "urandom", "shm", "fd"),
    *("nvidia*", "nvidia-caps/*", "dri/*", "kfd", "dxg", "accel*", "accel/*", "davinci*"),
)


@cache
def version() -> int:
    """The version that the kernel offers; 0 for none."""
    if not sys.platform.startswith("linux"):
        return 0
    with suppress(OSError):
        return kernel.call(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    return 0


class _Ruleset(ctypes.Structure):
    """The kernel's `landlock_ruleset_attr`."""

    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Rule(ctypes.Structure):
    """The kernel's `landlock_path_beneath_attr`."""

    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("folder", ctypes.c_int32))


def restrict(folders: Sequence[str], known: int, *, tcp: bool) -> None:
    """Let this process write below some folders, and to devices that are no disks, alone.

    Args:
        folders: The folders.
        known: The version whose rules are used, `KEEPS_FILES` at least.
        tcp: Whether TCP stays.
    """
    holds_tcp, holds_signals = known >= KEEPS_TCP and not tcp, known >= KEEPS_SIGNALS
    asked = _Ruleset(
        files=_RIGHTS,
        network=_TCP if holds_tcp else 0,
        scoped=_SIGNALS_AND_SOCKETS if holds_signals else 0,
    )
    size = ctypes.c_size_t(24 if holds_signals else 16 if known >= KEEPS_TCP else 8)
    ruleset = kernel.call(_CREATE_RULESET, ctypes.byref(asked), size, 0)
    for place in (*folders, *devices(), "/proc/self"):
        _allow(ruleset, place)
    _enter(ruleset)


def keep_out_of(folder: str, but: Sequence[str]) -> None:
    """Let this process write everywhere but below a folder, where the kernel offers it.

    The kernel knows allowed folders alone, so that what lies beside the folder, or beside one
    above it, is allowed as far as it is there now; nothing new is made there.

    Args:
        folder: The folder, a real path.
        but: Folders below it, or beside it, in which it may write all the same.
    """
    if version() < KEEPS_FILES:
        return
    asked = _Ruleset(files=_RIGHTS, network=0, scoped=0)
    ruleset = kernel.call(_CREATE_RULESET, ctypes.byref(asked), ctypes.c_size_t(8), 0)
    for place in (*but, *_beside(folder)):
        with suppress(OSError):  # gone meanwhile, or not ours to see
            _allow(ruleset, place)
    _enter(ruleset)


def _beside(folder: str) -> Iterator[str]:
    """Yield what lies beside a folder, and beside each folder above it; no links."""
    while folder != os.sep:
        above = os.path.dirname(folder)
        with suppress(OSError), os.scandir(above) as found:
            yield from (e.path for e in found if e.path != folder and not e.is_symlink())
        folder = above


def _enter(ruleset: int) -> None:
    kernel.forbid_new_privileges()
    kernel.call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


@cache
def devices() -> tuple[str, ...]:
    """The devices that may be written to; a server looks once, for all its children."""
    return tuple(str(path) for pattern in _DEVICES for path in Path("/dev").glob(pattern))


def _allow(ruleset: int, place: str) -> None:
    descriptor = os.open(place, os.O_PATH)
    is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    rule = _Rule(rights=_RIGHTS if is_folder else _WRITE | _TRUNCATE, folder=descriptor)
    kernel.call(_ADD_RULE, ruleset, _BENEATH, ctypes.byref(rule), 0)
    os.close(descriptor)
