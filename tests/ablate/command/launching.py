"""Runs of commands in children of a server, as a study makes them."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from antifragile.ablate.command.command import Command
from antifragile.ablate.command.launch import NOTES, Launch
from antifragile.ablate.command.metrics import MetricSource
from antifragile.ablate.command.notes import RunNotes, read_notes
from antifragile.ablate.command.proof import WatchedFiles
from antifragile.ablate.sandbox.job import Outcome
from antifragile.ablate.sandbox.server import Server

PYTHON = shlex.quote(sys.executable)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run that has ended: its outcome, its notes, and the folders it left."""

    outcome: Outcome
    notes: RunNotes
    run: Path
    scratch: Path

    @property
    def kept(self) -> Path:
        """The file of the initial values."""
        return self.scratch / "kept"


@dataclass(kw_only=True)
class Repository:
    """A user's repository in a test, and runs of a command in it.

    Args:
        server: The server that runs them.
        root: Its root.
        files: Its files by their path.
        command: The command, after Python.
        metric: The metric's source.
        mounts: Whether runs lay files over it, or copy it.
        folder: The folder where the command is started.
        reseeds: Whether the seed is mixed into constants.
        beside: The folder for what the only run leaves; None for one beside the root.
    """

    server: Server
    root: Path
    files: Mapping[str, str]
    command: str
    metric: str = "json:{out}/m.json:value"
    mounts: bool = True
    folder: str = "."
    reseeds: bool = False
    beside: Path | None = None
    _number: int = field(default=0)

    def __post_init__(self) -> None:
        """Write the files, and a mark of version control."""
        (self.root / ".git").mkdir(exist_ok=True)
        for name, content in self.files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def run(self, edited: Mapping[str, str] | None = None, **options: Any) -> Ended:
        """Run the command, with some files edited."""
        self._number += 1
        place = self.root.parent / f"run-{self._number}"
        run = (self.beside or place) / "out"
        scratch, variant = place / "scratch", place / "variant"
        names = list(edited or {})
        for folder in (scratch, run):
            folder.mkdir(parents=True)
        for name, content in (edited or {}).items():
            (variant / name).parent.mkdir(parents=True, exist_ok=True)
            (variant / name).write_text(content)
        chosen: dict[str, Any] = {
            "seeds": {"seed": options.pop("seed", 1), "order": 2, "init": 3, "stream": 4},
            "stream": None,
            **{name: str(options.pop(name)) for name in ("starts", "keeps") if name in options},
        }
        launch = Launch(
            command=Command.read(
                f"{PYTHON} {self.command}",
                folder=self.root / self.folder,
                reseeds=self.reseeds,
            ),
            metrics=(MetricSource.read(self.metric),),
            files=WatchedFiles.of(self.root, names, variant),
            run=str(run),
            scratch=str(scratch),
            mounts=self.mounts,
            opened=str(scratch / "opened"),
            **(chosen | options),
        )
        outcome = self.server.run_one(launch.job())
        return Ended(outcome=outcome, notes=read_notes(run / NOTES), run=run, scratch=scratch)

    def digests(self) -> dict[str, str]:
        """Hashes and times of all files and folders below the root."""
        return {
            str(path.relative_to(self.root)): (
                hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
            )
            + f" {path.stat().st_mtime_ns}"
            for path in sorted(self.root.rglob("*"))
        }
