"""The notes of start-up hooks, judged: what a run executed, how a pair of runs began.

WatchedFiles  the files that variants edit, as one run has them
prove       every edited file was executed, by its path and hash, and no other version of it
unpaired    how a run started from other values than the baseline
constants   calls that seed with the same number under two seeds
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from antifragile._files import sha256_of
from antifragile.ablate.command.notes import RunNotes
from antifragile.ablate.command.overlay import Entered
from antifragile.ablate.sandbox.loading import Refusal

OF_REPOSITORY, OF_OUTSIDE = "repository", "outside"


@dataclass(frozen=True, kw_only=True)
class WatchedFiles:
    """The files that variants of a study edit, as one run has them; all paths are absolute.

    Args:
        edited: The file that takes the place of each one that this run's variant edits.
        hashes: SHA-256 of every file in this run.
    """

    edited: dict[str, str]
    hashes: dict[str, str]

    @classmethod
    def of(cls, root: Path, files: Sequence[str], place: Path) -> WatchedFiles:
        """Look at a variant's files.

        Args:
            root: The folder that the files' paths are relative to.
            files: The files that some arm of the study edits.
            place: The folder of this run's variant, or of the baseline.
        """
        pairs = {str((root / file).resolve()): str((place / file).resolve()) for file in files}
        hashes = {path: sha256_of(Path(content)) for path, content in pairs.items()}
        edited = {p: content for p, content in pairs.items() if sha256_of(Path(p)) != hashes[p]}
        return cls(edited=edited, hashes=hashes)

    @property
    def packages(self) -> list[str]:
        """The folders of the packages that the files are of, or the files' own."""
        return sorted({_package_folder(Path(path)) for path in self.hashes})


def _package_folder(file: Path) -> str:
    folder = file.parent
    while (folder.parent / "__init__.py").is_file():
        folder = folder.parent
    return str(folder)


def prove(notes: RunNotes, entered: Entered, files: WatchedFiles) -> None:
    """Check that the edited files, and no other version of them, were executed.

    Args:
        notes: The notes of the run.
        entered: The repository as the run saw it.
        files: The files, by their paths outside.

    Raises:
        Refusal: They were not.
    """
    if not notes.pythons:
        raise Refusal(
            "no Python of the command took the start-up hook, so nothing shows which files ran; "
            "python -I and -E leave PYTHONPATH out, and so does a program that is no Python"
        )
    edited = files.edited
    for path, sha256 in files.hashes.items():
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


def unpaired(baseline: RunNotes, run: RunNotes, own_values: tuple[str, ...]) -> str:
    """Say, as a clause, how a run starts from other values than the baseline; empty if it does not.

    Args:
        baseline: Notes of the baseline's run of the same seed.
        run: Notes of the run.
        own_values: Parameters that are to start from the run's own values.
    """
    if not any(baseline.first_step.values()):
        return "the command builds no model by a class of your files, or makes no step"
    differ, compared = [], 0
    for model, hashes in baseline.first_step.items():
        theirs = run.first_step.get(model)
        if theirs is None:
            return f"no {model.replace('#', ' number ')} was built"
        for name in hashes.keys() & theirs.keys():
            is_own = any(name == own or name.endswith(f".{own}") for own in own_values)
            shape, other = (text.partition(" ")[0] for text in (hashes[name], theirs[name]))
            if shape == other and not is_own:
                compared += 1
                differ += [name] if hashes[name] != theirs[name] else []
    if not differ:
        return ""
    return f"{len(differ)} of {compared} tensors differ at the first step, {min(differ)} among them"


def constants(some: RunNotes, others: RunNotes) -> list[str]:
    """List the calls that seed with the same constant under two seeds, as they stand in code."""
    return [
        f"{function}({value})"
        for function in sorted(some.seeded.keys() & others.seeded.keys())
        for value in sorted(some.seeded[function] & others.seeded[function])
    ]
