"""Confinement of a child: it writes in folders of its own and nowhere else.

Two fences, each for what the other does not see. The kernel's (Landlock, Linux 5.13 and later, no
rights needed) holds for all code, native code and further processes included: no file outside the
child's folders is written, made, renamed or removed, and no process outside gets a signal from it
(Linux 6.12). Python's (an audit hook) holds on every system and also sees modes, owners and times;
it raises an error that says what is wrong, and notes each attempt for the parent.

Not held: without Landlock, native code (`torch.save` to an absolute path) and further processes;
with it, modes, owners and times that a further process changes (`subprocess.run(["chmod", ...])`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_DEVICES = ("/dev", "/proc")  # no files of the user's
_MOST_NOTES = 50
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# Events of Python's audit hooks: positions of the paths that they change, and of the folders'
# descriptors that these are relative to; whether a link itself is meant and not its target.
_EVENTS: dict[str, tuple[tuple[tuple[int, int | None], ...], bool]] = {
    "os.remove": (((0, 1),), True),
    "os.rename": (((0, 2), (1, 3)), True),
    "os.rmdir": (((0, 1),), True),
    "os.mkdir": (((0, 2),), True),
    "os.link": (((0, 2), (1, 3)), True),  # who writes to the new name writes to the old file
    "os.symlink": (((1, 2),), True),
    "os.truncate": (((0, None),), False),
    "os.chmod": (((0, 2),), False),
    "os.chown": (((0, 3),), False),
    "os.utime": (((0, 3),), False),
    "os.setxattr": (((0, None),), False),
    "os.removexattr": (((0, None),), False),
    "sqlite3.connect": (((0, None),), False),
}

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same number on every processor
_NO_NEW_PRIVILEGES, _BENEATH = 38, 1
_FIRST_RIGHTS = 0b1_1111_1111_0010  # write files; remove and make entries of every kind
_MOVE, _TRUNCATE = 1 << 13, 1 << 14  # since versions 2 and 3
_SIGNALS, _SIGNALS_SINCE = 0b10, 6


def confine(folders: Sequence[str], notes: str, copy: str) -> None:
    """Let this process write below some folders only, from now on and for good.

    Args:
        folders: The folders.
        notes: File for the paths that the model wrote to in its copy, or tried to outside.
        copy: The copy of the model's files, one of the folders.
    """
    inside = tuple(os.path.realpath(folder) for folder in (*folders, *_DEVICES))
    descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.addaudithook(_hook(inside, descriptor, os.path.realpath(copy)))
    if kernel_confines():
        _restrict(inside)


def watch(notes: str, copy: str) -> None:
    """Note what the model writes in its copy, which will be removed; hold back links alone.

    A large data file is a link in the copy; who opens it to write would change the user's.

    Args:
        notes: File for the paths.
        copy: The copy of the model's files.
    """
    descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    here = os.path.realpath(copy)
    note = _hook((os.sep,), descriptor, here)

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and any(_changed(event, arguments)):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if os.path.islink(path) and _is_below(path, (here,)):
                raise PermissionError(
                    errno.EACCES, "a link to your file, which writing would change", path
                )
        note(event, arguments)

    sys.addaudithook(check)


@contextmanager
def writing_below(folder: str) -> Iterator[None]:
    """Hold Python back, inside, from writing anywhere but below a folder."""
    inside = tuple(os.path.realpath(place) for place in (folder, *_DEVICES))
    is_active = True

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        if is_active and (event == "open" or event in _EVENTS):
            for path in _changed(event, arguments):
                if not _is_below(path, inside):
                    raise PermissionError(errno.EACCES, "an import may not write here", path)

    sys.addaudithook(check)
    try:
        yield
    finally:
        is_active = False


def source() -> str:
    """The text of this module, for a Python that must not import it."""
    return Path(__file__).read_text(encoding="utf-8")


@cache
def kernel_confines() -> bool:
    """Whether the kernel can keep a child's writes in its folders."""
    return _landlock_version() >= 3


def _hook(inside: tuple[str, ...], notes: int, copy: str) -> Callable[[str, tuple[Any, ...]], None]:
    noted: set[str] = set()

    def note(line: str) -> None:
        if line not in noted and len(noted) < _MOST_NOTES:
            noted.add(line)
            os.write(notes, line.encode("utf-8", "replace") + b"\n")

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" and event not in _EVENTS:
            return
        for path in _changed(event, arguments):
            if not _is_below(path, inside):
                note(f"outside {path}")
                raise PermissionError(
                    errno.EACCES, "a model may write only in the copy of its files", path
                )
            if _is_below(path, (copy,)):
                note(f"inside {os.path.relpath(path, copy)}")

    return check


def _changed(event: str, arguments: tuple[Any, ...]) -> Iterator[str]:
    """Yield the absolute paths that an event would change."""
    if event == "open":
        path, _, flags = arguments[:3]
        if isinstance(flags, int) and flags & _WRITING and not isinstance(path, int):
            yield _absolute(path, -1, of_link=False)
        return
    places, of_link = _EVENTS[event]
    for place, folder in places:
        relative_to = arguments[folder] if folder is not None and folder < len(arguments) else -1
        path = arguments[place]
        if path not in (":memory:", b":memory:") and not (event == "os.mkdir" and _is_dir(path)):
            yield _absolute(path, relative_to, of_link=of_link)


def _is_dir(path: Any) -> bool:
    """Whether making a folder would only fail."""
    return not isinstance(path, int) and os.path.isdir(path)


def _absolute(path: Any, folder: int | None, *, of_link: bool) -> str:
    if isinstance(path, int):
        return os.path.realpath(f"/proc/self/fd/{path}")
    text = os.fsdecode(path)
    if folder is not None and folder >= 0:
        text = os.path.join(f"/proc/self/fd/{folder}", text)
    if of_link:
        parent, name = os.path.split(os.path.abspath(text))
        return os.path.join(os.path.realpath(parent), name)
    return os.path.realpath(text)


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    starts = ((folder, folder.rstrip(os.sep) + os.sep) for folder in folders)
    return any(path == folder or path.startswith(start) for folder, start in starts)


def _landlock_version() -> int:
    if not sys.platform.startswith("linux"):
        return 0
    return int(ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, 1))


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


def _restrict(folders: Sequence[str]) -> None:
    libc, version = ctypes.CDLL(None), _landlock_version()
    rights = _FIRST_RIGHTS | _MOVE | _TRUNCATE
    asked = _Ruleset(files=rights, scoped=_SIGNALS if version >= _SIGNALS_SINCE else 0)
    size = ctypes.sizeof(asked) if version >= _SIGNALS_SINCE else 8
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(asked), ctypes.c_size_t(size), 0)
    for folder in folders:
        descriptor = os.open(folder, os.O_PATH)
        rule = _Rule(rights=rights, folder=descriptor)
        libc.syscall(_ADD_RULE, ruleset, _BENEATH, ctypes.byref(rule), 0)
        os.close(descriptor)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if libc.syscall(_RESTRICT_SELF, ruleset, 0) != 0:
        raise OSError("the kernel did not take the limits of a child")
    os.close(ruleset)
