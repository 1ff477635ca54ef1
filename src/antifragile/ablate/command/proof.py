"""The proof of a run: every edited file was executed, by its path and hash, and nothing else of it.

A run's start-up hook notes what is executed and opened; here its notes are judged.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from antifragile.ablate.command.notes import RunNotes
from antifragile.ablate.command.overlay import Entered
from antifragile.ablate.sandbox.loading import Refusal

OF_REPOSITORY, OF_OUTSIDE = "repository", "outside"


def prove(
    notes: RunNotes, entered: Entered, *, hashes: Mapping[str, str], edited: Collection[str]
) -> None:
    """Check that the edited files, and no other version of them, were executed.

    Args:
        notes: The notes of the run.
        entered: The repository as the run saw it.
        hashes: SHA-256 that each watched file has in this run, by its path outside.
        edited: Paths of those that this run's variant edits.

    Raises:
        Refusal: They were not.
    """
    if not notes.is_started:
        raise Refusal(
            "no Python of the command took the start-up hook, so nothing shows which files ran; "
            "python -I and -E leave PYTHONPATH out, and so does a program that is no Python"
        )
    for path, sha256 in hashes.items():
        place = path_now(entered, path)
        if place not in notes.executed and not edited:
            raise Refusal(f"the command never executes {path}, which variants edit")
        if place not in notes.executed and path not in edited:
            continue  # edited by another variant
        if place not in notes.executed:
            twin = next((other for other in notes.executed if _same_module(other, path)), None)
            instead = f"; {twin} was, which is another file" if twin else ""
            raise Refusal(f"the edited {path} was never executed{instead}")
        if notes.executed[place] != {sha256}:
            raise Refusal(f"{path} was executed, but not as this run has it")


def path_now(entered: Entered, path: str) -> str:
    """The real path at which a watched file lies in this run."""
    return entered.edited.get(path) or os.path.realpath(entered.path(path))


def _same_module(other: str, path: str) -> bool:
    """Whether two files have the same name in folders of the same name."""
    return Path(other).parts[-2:] == Path(path).parts[-2:]


def note_opened(notes: RunNotes, path: Path, repository: str) -> None:
    """Hand on which files were read, in the form that `source.opened` reads."""
    lines = []
    for file, is_read in notes.opened:
        if file.startswith(repository + os.sep):
            line = [OF_REPOSITORY, os.path.relpath(file, repository)]
        else:
            line = [OF_OUTSIDE, file.lstrip(os.sep)]
        lines.append(json.dumps([*line, is_read, False]))
    path.write_text("\n".join(lines), encoding="utf-8")
