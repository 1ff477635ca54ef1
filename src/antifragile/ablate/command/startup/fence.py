"""A fence around the user's files, for runs in a copy: what a script writes there is an error.

It sees what Python itself opens, makes, moves and removes, on every system. What native code and
other programs write, the kernel holds back where it can (see `sandbox.limits.landlock`).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATHS = {  # events of Python: positions of changed paths, and of the folders they are relative to
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "shutil.rmtree": ((0, 1),),
    "sqlite3.connect": ((0, None),),
}


def begin(folder: str, but: list[str]) -> None:
    """Refuse writes below a folder from now on.

    Args:
        folder: The user's repository, a real path.
        but: Folders below it that a run may write in.
    """
    inside, allowed = folder + os.sep, tuple(place + os.sep for place in but)

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" and event not in _PATHS:
            return
        for path in _changed(event, arguments):
            if f"{path}{os.sep}".startswith(inside) and not f"{path}{os.sep}".startswith(allowed):
                if event == "os.mkdir" and os.path.isdir(path):
                    return  # which fails by itself
                words = "a run may write in the copy of your files alone"
                raise PermissionError(errno.EACCES, words, path)

    sys.addaudithook(check)


def _changed(event: str, arguments: tuple[Any, ...]) -> Iterator[str]:
    """Yield the absolute paths that an event would change."""
    if event == "open":
        path, _, flags = arguments[:3]
        if isinstance(flags, int) and flags & _WRITING and not isinstance(path, int):
            yield os.path.realpath(os.fsdecode(path))
        return
    for place, folder in _PATHS[event]:
        relative_to = arguments[folder] if folder is not None and folder < len(arguments) else None
        text = arguments[place]
        if isinstance(text, int):
            yield os.path.realpath(f"/proc/self/fd/{text}")
            continue
        text = os.fsdecode(text)
        if isinstance(relative_to, int) and relative_to >= 0:
            text = os.path.join(f"/proc/self/fd/{relative_to}", text)
        above, name = os.path.split(os.path.abspath(text))
        yield os.path.join(os.path.realpath(above), name)  # a link itself, not its target
        if event in ("os.truncate", "os.chmod", "os.chown", "os.utime", "sqlite3.connect"):
            yield os.path.realpath(text)
