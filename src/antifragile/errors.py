"""One tree of exceptions; the command line turns each branch into an exit code.

``UsageError`` is for wrong input (exit code 2), ``WorldError`` for failures outside the program: a
full disk, a dead worker, a read-only folder (exit code 1). Every message is one sentence or two
that say what was wrong, what was given, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class AntifragileError(Exception):
    """Base of every exception this package raises on purpose."""

    exit_code = 1


class UsageError(AntifragileError):
    """The input is wrong; the message says what was expected."""

    exit_code = 2


class ArchitectureError(UsageError):
    """An architecture string that cannot be a network."""


class SpecError(UsageError):
    """A run or study specification with one or more faults, also listed one by one."""

    def __init__(self, message: str, *, faults: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.faults = list(faults)


class DataError(UsageError):
    """A data set that is unknown, missing, truncated or corrupted."""


class StoreError(UsageError):
    """A store of another program or a newer version, or one that disagrees with the request."""


class CheckpointError(UsageError):
    """A checkpoint file that cannot be continued."""


class MissingExtraError(UsageError):
    """An optional package is needed for what was asked."""


class PluginError(UsageError):
    """An installed package declares an addition that cannot be used."""


class WorldError(AntifragileError):
    """Something outside the program failed: disk, permissions, a worker process, the network."""


class Interrupted(AntifragileError):
    """The user pressed Ctrl-C; the message says how to go on."""

    exit_code = 130


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a clause naming the nearest valid name, or all of them when none is near.

    Args:
        name: The word that the user wrote.
        valid: The names that would have been accepted.

    Returns:
        ``"did you mean 'hidden'?"`` or ``"expected one of decay, none."``.
    """
    names = sorted(map(str, valid))
    close = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"expected one of {', '.join(names)}."
