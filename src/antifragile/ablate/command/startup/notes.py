"""A run as its parent describes it, and its notes: JSON lines, of all its processes."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

_SITES = frozenset(("site-packages", "dist-packages"))
_OF_SHELLS = ("_", "PWD", "OLDPWD", "SHLVL")


def digest(value: str) -> str:
    """Return a hash of a variable's value: the values themselves, some of them secret, stay out."""
    return hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()


class WatchedRun:
    """A run, as its parent described it in the file that ANTIFRAGILE_RUN names.

    Attributes:
        watched: Real paths of the files that variants edit.
        roots: Folders whose classes are the user's.
        quiet: Folders and files that do not count as read.
        seed: Seed of the run.
        reseeds: Whether it takes the place of constants.
        saves: File for the initial values of this run's models; empty to keep none.
        starts: File of the baseline's initial values; empty for the baseline.
        stream: Seed of the global streams once a model is built; None for the baseline's states.
        preview_steps: Steps after which a preview ends; 0 for a run.
        preview: Folder for what a preview has seen.
        fenced: The user's repository where this run has a copy of it; else empty.
        writable: Folders in which a fenced run may write.
        own_values: Parameters that keep this run's own values.
        folder: The folder where this process was started.
        variables: Variables of the environment that the command set before it was started.
    """

    def __init__(self, path: str) -> None:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        self.watched: list[str] = data["watched"]
        self.roots: list[str] = data["roots"]
        self.quiet: list[str] = data["quiet"]
        self.seed: int = data["seed"]
        self.reseeds: bool = data["reseeds"]
        self.saves: str = data["saves"]
        self.starts: str = data["starts"]
        self.stream: int | None = data["stream"]
        self.own_values: list[str] = data["own_values"]
        self.folder = os.getcwd()
        self.variables = {
            name: value
            for name, value in os.environ.items()
            if data["environment"].get(name) != digest(value) and name not in _OF_SHELLS
        }
        self.fenced: str = data["fenced"]
        self.writable: list[str] = data["writable"]
        self.preview_steps: int = data["preview_steps"]
        self.preview: str = data["preview"]
        self._notes = os.open(data["notes"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def is_users(self, file: str) -> bool:
        """Whether a module's file is the user's: below a root, and of no environment in there."""
        path = os.path.realpath(file)
        rests = [path[len(root) :] for root in self.roots if path.startswith(root)]
        return any(_SITES.isdisjoint(rest.split(os.sep)) for rest in rests)

    def note(self, kind: str, **facts: Any) -> None:
        """Add a line to the notes."""
        os.write(self._notes, json.dumps({"kind": kind, **facts}).encode() + b"\n")
