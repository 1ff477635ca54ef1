"""Confinement of a child: it writes in folders of its own and nowhere else.

Two fences, each for what the other does not see. The kernel's (see `limits`) holds for all code,
native code and further processes included. Python's (an audit hook) holds on every system; it
raises an error that says what is wrong, and notes each attempt for the parent.

Not held where the kernel offers neither namespaces nor Landlock: native code (`torch.save` to an
absolute path) and further processes; with Landlock alone: modes, owners and times that a further
process changes (`subprocess.run(["chmod", ...])`).
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from antifragile.ablate.sandbox.limits import landlock, namespaces, seccomp
from antifragile.ablate.sandbox.limits.mechanisms import Mechanisms

_DEVICES = ("/dev", "/proc")  # no files of the user's
_MOST_NOTES = 50
_SIGNALS = {number.value: number.name for number in signal.Signals}
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


def confine(
    folders: Sequence[str], notes: str, copy: str, held: Mechanisms, memory_bytes: int
) -> None:
    """Let this process write below some folders only, from now on and for good.

    Args:
        folders: The folders.
        notes: File for the paths that the model wrote to in its copy, or tried to outside.
        copy: The copy of the model's files, one of the folders.
        held: The kernel's mechanisms that hold it, too.
        memory_bytes: Size of the shared memory that it can make by name.
    """
    if sys.platform == "linux":
        namespaces.isolate(list(map(os.path.realpath, folders)), held, memory_bytes)
    inside = tuple(os.path.realpath(folder) for folder in (*folders, *_DEVICES))
    descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.addaudithook(_hook(inside, descriptor, os.path.realpath(copy)))
    if held.landlock:
        landlock.restrict(inside[: len(folders)], held.landlock, tcp=held.network_namespace)
    if held.call_filter:
        seccomp.refuse_calls()


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


def kernel_confines() -> bool:
    """Whether the kernel can keep a child's writes in its folders."""
    return landlock.version() >= landlock.KEEPS_FILES


def _hook(inside: tuple[str, ...], notes: int, copy: str) -> Callable[[str, tuple[Any, ...]], None]:
    noted: set[str] = set()
    parent = os.getppid()  # 0 where it lies beyond the namespace, and means the group in `kill`

    def note(line: str) -> None:
        if line not in noted and len(noted) < _MOST_NOTES:
            noted.add(line)
            os.write(notes, line.encode("utf-8", "replace") + b"\n")

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.kill" and arguments[0] == parent:
            note(f"signal {_SIGNALS.get(arguments[1], arguments[1])}")
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
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
