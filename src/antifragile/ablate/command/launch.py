"""One run of a user's command: started in an overlay, watched by a start-up hook, measured.

    overlay -> the command, with `startup/` first on its PYTHONPATH -> proof -> metrics

The proof is that every edited file was executed, by its path and hash, and never another version of
it; else the run is an error. Runs in a child of the server.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from antifragile._data_files import read_json
from antifragile._records import from_json
from antifragile.ablate.command.command import Command
from antifragile.ablate.command.metrics import STDERR, STDOUT, MetricSource
from antifragile.ablate.command.notes import read_notes
from antifragile.ablate.command.overlay import Entered, Overlay, enter
from antifragile.ablate.command.proof import note_opened, path_now, prove
from antifragile.ablate.command.startup.notes import digest
from antifragile.ablate.sandbox.loading import Refusal, stage

INPUTS, _PREVIEW = "inputs.safetensors", "preview.json"
NOTES, _OUT = "notes.jsonl", "out"
_LAST_LINES = 3
_TAIL = 16_384  # bytes
_ERROR = re.compile(r"(\[rank\d+\]: ?)?[\w.]+(Error|Exception|Interrupt): \S")
_POLL_S = 0.05
_OF_A_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours
_STARTUP = Path(__file__).parent / "startup"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class LaunchArguments:
    """The arguments of a run as JSON data.

    Args:
        command: `asdict` of the command.
        metrics: `asdict` of each metric's source.
        edited: The file that takes the place of each edited one, both absolute.
        hashes: SHA-256 of these, and of the files that other variants edit, by the same path.
        roots: Folders whose classes are the user's.
        seed: Handed to the command as ``{seed}``, and to the start-up hook.
        order: Handed to it as ``{order}``.
        stream: Seed of the global streams once the models are built; None for the baseline's.
        run: A folder for the run's output, which exists.
        scratch: A folder for the overlay and values on their way between processes.
        mounts: Whether files are laid over the repository, or it is copied.
        starts: File of the baseline's initial values; None for the baseline.
        keeps: File to leave the initial values in; None to keep none.
        opened: File to leave the names of opened files in, as `source.opened` reads them.
        own_values: Parameters that start from the variant's own values.
        preview_steps: Steps after which a preview ends; 0 for a run.
    """

    command: dict[str, Any]
    metrics: Sequence[dict[str, Any]]
    edited: Mapping[str, str]
    hashes: Mapping[str, str]
    roots: Sequence[str]
    seed: int
    order: int
    stream: int | None
    run: str
    scratch: str
    mounts: bool
    starts: str | None
    keeps: str | None
    opened: str
    own_values: Sequence[str] = field(default_factory=tuple)
    preview_steps: int = 0


@dataclass(frozen=True, kw_only=True)
class PreviewSeen:
    """The training that a command does, as its first steps show it.

    Args:
        script: The file that Python runs, absolute; empty where it is none.
        module: Its name where it is run by ``-m``; empty where it is not.
        cells: Cells of a notebook, up to the one that trains.
        folder: The folder where Python was started, absolute.
        arguments: Its arguments, with ``{out}`` for the folder of the output.
        variables: Variables of the environment that the command sets, with ``{out}`` too.
        model: Class of the model, ``module.name``.
        parameters: Number of its parameters.
        files: Files of the classes of all its modules.
        has_inputs: Whether the inputs of its first call were kept, as `INPUTS`.
        seconds: Time of each step but the first.
    """

    script: str
    module: str
    cells: tuple[str, ...]
    folder: str
    arguments: tuple[str, ...]
    variables: dict[str, str]
    model: str
    parameters: int
    files: tuple[str, ...]
    has_inputs: bool
    seconds: tuple[float, ...]


def launch_job(run: dict[str, Any]) -> dict[str, float]:
    """Run a command on a variant, or on the baseline.

    Args:
        run: `asdict` of `LaunchArguments`.

    Returns:
        The metrics.

    Raises:
        Refusal: It failed, executed other files than the edited ones, or left no metric.
    """
    given = LaunchArguments(**run)
    command, entered, places = _launched(given)
    sources = [MetricSource(**source) for source in given.metrics]
    notes = read_notes(Path(given.run, NOTES))
    prove(notes, entered, hashes=given.hashes, edited=given.edited)
    note_opened(notes, Path(given.opened), command.repository)
    if given.keeps is not None and not Path(given.keeps).exists():
        save_file({}, given.keeps)  # it built no model by a class of the user's
    folder = Path(entered.path(command.folder))
    return {source.name: source.value(places, folder, Path(given.run)) for source in sources}


def preview_job(run: dict[str, Any]) -> PreviewSeen:
    """Run a command for a few steps, and say what it trains.

    Args:
        run: `asdict` of `LaunchArguments`.

    Raises:
        Refusal: It failed, ended without a training step, or trains in code that is no file.
    """
    given = LaunchArguments(**run)
    _, entered, places = _launched(given)
    path = Path(given.scratch, _PREVIEW)
    if not path.is_file():
        prove(read_notes(Path(given.run, NOTES)), entered, hashes={}, edited=())
        raise Refusal(
            "it ended without a training step: no module of torch was called in training mode, or "
            "no optimizer made a step"
        )
    seen: PreviewSeen = from_json(PreviewSeen, read_json(path))
    if not seen.script and not seen.cells:
        raise Refusal(
            "what trains is no file (python -c, or typed in), so that nothing can be run again; "
            "put it into a script"
        )

    def with_out(text: str) -> str:
        return text.replace(places["out"], "{out}")

    return replace(
        seen,
        script=entered.outside(seen.script),
        folder=entered.outside(seen.folder),
        files=tuple(map(entered.outside, seen.files)),
        arguments=tuple(map(with_out, seen.arguments)),
        variables={name: with_out(value) for name, value in seen.variables.items()},
    )


def _launched(given: LaunchArguments) -> tuple[Command, Entered, dict[str, str]]:
    """Run the command to its end: it, the repository as it was seen, and what stood for places."""
    command = Command(**{**given.command, "words": tuple(given.command["words"])})
    scratch, place = Path(given.scratch), Path(given.run)
    out = place / _OUT
    out.mkdir(parents=True)
    (scratch / NOTES).touch()
    overlay = Overlay(
        repository=command.repository, edited=given.edited, open_folders=(str(place),)
    )
    with stage("preparing the repository"):
        entered = enter(overlay, scratch / "overlay", mounts=given.mounts)
    environment = _environment(given, command, entered)
    _describe(given, entered, command, environment)
    places = {"seed": str(given.seed), "out": str(out), "order": str(given.order)}
    words = [entered.path(word) for word in command.filled(places)]
    with stage("the command"):
        _run(given, words, entered.path(command.folder), environment)
    shutil.copyfile(scratch / NOTES, place / NOTES)
    return command, entered, places


def _describe(
    given: LaunchArguments, entered: Entered, command: Command, environment: Mapping[str, str]
) -> None:
    """Write what the start-up hook needs to know."""
    python = (sys.prefix, sys.base_prefix, os.path.dirname(os.__file__))
    own = (given.scratch, given.run, str(_STARTUP))
    system = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib")
    description = {
        "notes": str(Path(given.scratch, NOTES)),
        "watched": [path_now(entered, path) for path in given.hashes],
        "roots": [os.path.realpath(entered.path(root)) + os.sep for root in given.roots],
        "quiet": [os.path.realpath(place) + os.sep for place in (*own, *python, *system)],
        "seed": given.seed,
        "reseeds": command.reseeds,
        "saves": given.keeps or "",
        "starts": given.starts or "",
        "stream": given.stream,
        "own_values": list(given.own_values),
        "preview_steps": given.preview_steps,
        "preview": given.scratch,
        "environment": {name: digest(value) for name, value in environment.items()},
    }
    Path(given.scratch, "run.json").write_text(json.dumps(description), encoding="utf-8")


def _environment(given: LaunchArguments, command: Command, entered: Entered) -> dict[str, str]:
    found = dict(os.environ)
    before = [entered.path(path) for path in found.get("PYTHONPATH", "").split(os.pathsep) if path]
    copied = [] if given.mounts else _import_roots(entered)
    found["PYTHONPATH"] = os.pathsep.join([str(_STARTUP), *copied, *before])
    found["ANTIFRAGILE_RUN"] = str(Path(given.scratch, "run.json"))
    found["PYTHONDONTWRITEBYTECODE"] = "1"  # of an edited file, beside the user's
    found.setdefault("PYTHONHASHSEED", "0")
    return found | dict.fromkeys(_THREADS, str(command.threads))


def _import_roots(entered: Entered) -> list[str]:
    """Where packages of a copied repository are imported from, before an editable install."""
    places = [os.path.join(entered.root, name) for name in ("src", "")]
    return [place for place in places if os.path.isdir(place)]


def _run(
    given: LaunchArguments, words: Sequence[str], folder: str, environment: Mapping[str, str]
) -> None:
    """Run the command to its end; a preview, until it has shown what is trained."""
    place = Path(given.run)
    with (place / STDOUT).open("wb") as stdout, (place / STDERR).open("wb") as stderr:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
        if given.preview_steps and _has_shown(process, Path(given.scratch, _PREVIEW)):
            return  # a launcher may wait for what has ended, or go on; the server ends it
        code = process.wait()
    if code:
        how = f"with exit code {code}" if code > 0 else f"by signal {-code}"
        said = " | ".join(_last_lines(place / STDERR) or _last_lines(place / STDOUT))
        where = "" if given.preview_steps else f" (see {place})"
        raise Refusal(f"the command ended {how}{': ' + said if said else ''}{where}")


def _has_shown(process: subprocess.Popen[bytes], shown: Path) -> bool:
    """Wait for the end of a preview; return whether it showed what is trained."""

    def is_whole() -> bool:
        return shown.is_file() and shown.read_bytes().endswith(b"\n")

    while process.poll() is None and not is_whole():
        time.sleep(_POLL_S)
    return is_whole()


def _last_lines(path: Path) -> list[str]:
    """The last lines, or the last error where it lies before these, as under a launcher."""
    text = path.read_bytes()[-_TAIL:].decode("utf-8", errors="replace")
    plain = _OF_A_TERMINAL.sub("", text)
    lines = [" ".join(line.split()) for line in plain.splitlines()]
    last = [line for line in lines if line][-_LAST_LINES:]
    errors = [line for line in lines if _ERROR.match(line)]
    return errors[-1:] if errors and errors[-1] not in last else last
