"""The model of a command, found by watching it, and a file that builds it as the command does.

command -> a few steps, watched -> script, arguments, class and files of the model
-> a file with build() and inputs(), which runs the script up to its first training call
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import tokenize
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from antifragile._files import make_folder, write_atomically
from antifragile._shown import listed_names, show_path
from antifragile.ablate.command.command import SEEDS, Command
from antifragile.ablate.command.launch import INPUTS, Launch, PreviewSeen
from antifragile.ablate.command.overlay import can_mount
from antifragile.ablate.command.proof import WatchedFiles
from antifragile.ablate.command.repository import SEAL
from antifragile.ablate.sandbox.job import Limits
from antifragile.ablate.sandbox.limits.mechanisms import NONE
from antifragile.ablate.sandbox.limits.trees import scratch_folder
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import installed_package
from antifragile.ablate.source.syntax import marks_in
from antifragile.ablate.source.text import decoded
from antifragile.errors import UsageError

_TEMPLATE = Path(__file__).parent / "startup" / "scripted.py"
_FRAMEWORKS = (None, "torch")


@dataclass(frozen=True, kw_only=True)
class CommandModel:
    """The model of a command, as functions of a file.

    Args:
        source: Its files that may be edited.
        entry: The file with ``build`` and ``inputs``.
        seen: The training that the command does.
    """

    source: tuple[Path, ...]
    entry: Path
    seen: PreviewSeen


def watch_model(
    command: Command, entry: Path, *, steps: int, limits: Limits, sources: Sequence[Path] = ()
) -> CommandModel:
    """Run a command for a few steps, and write the file that builds its model.

    Args:
        command: The command.
        entry: The file to write; its inputs are written beside it.
        steps: Steps of an optimizer that are watched.
        limits: Limits of the run.
        sources: Files that may be edited; none for those of the model's classes.

    Raises:
        UsageError: The command fails, trains no model, or its model is made of torch's classes; the
            file is one that somebody has edited.
    """
    _check_not_edited(entry)
    with scratch_folder("antifragile-preview-") as scratch:
        run = scratch / "run"
        for folder in (run, scratch / "seen"):
            make_folder(folder)
        launch = Launch(
            command=command,
            metrics=(),
            files=WatchedFiles(edited={}, hashes={}),
            seeds=dict.fromkeys(SEEDS, 1),
            stream=None,
            run=str(run),
            scratch=str(scratch / "seen"),
            mounts=can_mount(command.repository, scratch / "tried"),
            opened=str(scratch / "seen" / "opened"),
            preview_steps=steps,
        )
        with Server(workers=1, limits=limits, mechanisms=NONE, ends_all=True) as server:
            outcome = server.run_one(launch.job())
        if outcome.failure is not None:
            raise UsageError(f"the command cannot be watched: {outcome.reason}.")
        seen: PreviewSeen = outcome.value
        found = sources or model_files(seen, Path(command.repository))
        inputs = entry.with_name(f"{entry.stem}.safetensors") if seen.has_inputs else None
        if inputs is not None:
            shutil.copyfile(scratch / "seen" / INPUTS, inputs)
        text = _entry_text(seen, entry, inputs)
        write_atomically(entry, f"{text}{SEAL}{_sha256(text)}\n".encode())
    return CommandModel(source=tuple(found), entry=entry, seen=seen)


def marks_elsewhere(found: CommandModel) -> str:
    """Say which marks stand in files that may not be edited; empty for none.

    Args:
        found: The model, whose files may be edited.
    """
    own = {path.resolve() for path in found.source}
    marks = {
        file: _marks_of(file) for file in map(Path, found.seen.ran) if file.resolve() not in own
    }
    files = [show_path(file) for file, named in marks.items() if named]
    if not files:
        return ""
    places = listed_names(
        f"{show_path(file)}:{line} has the mark {name or f'line {line}'!r}"
        for file, named in marks.items()
        for name, line in named
    )
    what = f"{files[0]} is" if len(files) == 1 else f"{', '.join(files)} are"
    sources = shlex.join([*map(show_path, found.source), *files])
    return (
        f"{places}, but {what} not among the files that may be edited; give --source {sources}, "
        "and --step FILE.py:function for what lies in the loss."
    )


def _marks_of(file: Path) -> tuple[tuple[str, int], ...]:
    """The marks in a file; none where it is no text of Python's."""
    with suppress(OSError, ValueError, SyntaxError, tokenize.TokenError):
        return marks_in(decoded(file.read_bytes()))
    return ()


def _check_not_edited(entry: Path) -> None:
    """Refuse to replace a file that is not as we wrote it."""
    if not entry.exists():
        return
    text, _, sha256 = entry.read_text(encoding="utf-8", errors="replace").rpartition(SEAL)
    if sha256.strip() != _sha256(text):
        raise UsageError(
            f"{entry} was edited, or is a file of yours, and would be written anew; use it by "
            f"--build {entry}:build --inputs {entry}:inputs, or give it another name."
        )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def model_files(seen: PreviewSeen, repository: Path) -> tuple[Path, ...]:
    """Choose the files of a model that may be edited: the user's, else those of its package.

    Raises:
        UsageError: It is made of torch's classes alone, or in a notebook.
    """
    files = [Path(file) for file in seen.files]
    own = [f for f in files if f.is_relative_to(repository) and installed_package(f) is None]
    others = [f for f in files if installed_package(f) not in _FRAMEWORKS]
    if not own and not others and seen.cells and seen.model.startswith("__main__."):
        raise UsageError(
            f"the model {seen.model} is written in cells of a notebook, which are no file that a "
            "variant could edit; move its classes into a file beside the notebook and import them."
        )
    if not own and not others:
        raise UsageError(
            f"the model {seen.model} is made of torch's own classes; name the file that puts it "
            "together by --source."
        )
    return tuple(own or others)


def _entry_text(seen: PreviewSeen, entry: Path, inputs: Path | None) -> str:
    """The source of the file: our template with the command in it."""
    here = entry.resolve().parent
    values: Mapping[str, object] = {
        "SCRIPT": seen.module or (os.path.relpath(seen.script, here) if seen.script else ""),
        "IS_MODULE": bool(seen.module),
        "CELLS": list(seen.cells),
        "WORDS": list(seen.arguments),
        "FOLDER": os.path.relpath(seen.folder, here),
        "VARIABLES": dict(seen.variables),
        "MODEL": seen.model,
        "INPUTS": inputs.name if inputs is not None else "",
    }
    lines = []
    for line in _TEMPLATE.read_text(encoding="utf-8").splitlines():
        name, colon, rest = line.partition(":")
        kind, equals, _ = rest.partition(" = ")
        is_setting = colon and equals and name in values
        lines.append(f"{name}:{kind} = {values[name]!r}" if is_setting else line)
    return "\n".join(lines) + "\n"
