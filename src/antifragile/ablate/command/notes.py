"""The notes that a run's start-up hook leaves, read with care: a script may write there too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MOST_BYTES = 2**26


@dataclass(frozen=True, kw_only=True)
class StartedPython:
    """A Python that took the hook.

    Args:
        program: Its words after the name of the interpreter.
        prefix: Folder of its environment.
        path: Its import path when it started.
        flags: Its flags, by name.
        has_hook: Whether the user has a start-up hook too.
    """

    program: tuple[str, ...]
    prefix: str
    path: tuple[str, ...]
    flags: Mapping[str, int]
    has_hook: bool


@dataclass(frozen=True, kw_only=True)
class RunNotes:
    """The notes of a run, of all its processes together.

    Args:
        pythons: Those that took the hook.
        modules: Modules of installed packages that they had imported at their end.
        executed: Hashes under which each file that has the name of an edited one was executed.
        opened: (path, whether it was read) of the files that were opened.
        seeded: Numbers that the script seeded with, by function.
        first_step: Hash of each parameter at the first step, by model.
        peak_bytes: The most memory that one of its processes took.
        is_forked: Whether its Python was forked rather than started.
    """

    pythons: tuple[StartedPython, ...] = ()
    modules: tuple[str, ...] = ()
    executed: Mapping[str, set[str]] = field(default_factory=dict)
    opened: tuple[tuple[str, bool], ...] = ()
    seeded: Mapping[str, set[int]] = field(default_factory=dict)
    first_step: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    peak_bytes: int = 0
    is_forked: bool = False


def read_notes(path: Path) -> RunNotes:
    """Read the notes of a run; lines that are none are left out."""
    executed, seeded = dict[str, set[str]](), dict[str, set[int]]()
    first_step, opened, is_forked = dict[str, dict[str, str]](), [], False
    pythons, modules, peak_bytes = list[StartedPython](), dict[str, None](), 0
    for line in _lines(path):
        kind = line.get("kind")
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            if kind == "started":
                pythons.append(_python(line))
            elif kind == "modules":
                modules |= dict.fromkeys(map(str, line["names"]))
            elif kind == "executed":
                executed.setdefault(str(line["path"]), set()).add(str(line["sha256"]))
            elif kind == "opened":
                opened.append((str(line["path"]), bool(line["is_read"])))
            elif kind == "seeded":
                seeded.setdefault(str(line["function"]), set()).add(int(line["value"]))
            elif kind == "first step":
                first_step[str(line["model"])] = dict(line["hashes"])
            elif kind == "ended":
                peak_bytes, is_forked = int(line["peak_bytes"]), bool(line["is_forked"])
    return RunNotes(
        pythons=tuple(pythons),
        modules=tuple(modules),
        executed=executed,
        opened=tuple(dict.fromkeys(opened)),
        seeded=seeded,
        first_step=first_step,
        peak_bytes=peak_bytes,
        is_forked=is_forked,
    )


def _python(line: Mapping[str, Any]) -> StartedPython:
    return StartedPython(
        program=tuple(map(str, line.get("program", ()))),
        prefix=str(line.get("prefix", "")),
        path=tuple(map(str, line.get("path", ()))),
        flags={str(name): int(value) for name, value in line.get("flags", {}).items()},
        has_hook=bool(line.get("has_hook", True)),
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    if path.is_symlink() or not path.is_file():
        return []
    found = []
    with path.open("rb") as file:
        for text in file.read(_MOST_BYTES).splitlines():
            with suppress(ValueError, RecursionError):
                line = json.loads(text)
                if isinstance(line, dict):
                    found.append(line)
    return found
