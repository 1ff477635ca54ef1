"""One run of a user's command: started in an overlay, watched by a start-up hook, measured.

    overlay -> the command, with `startup/` first on its PYTHONPATH -> proof -> metrics

The proof is that every edited file was executed, by its path and hash, and never another version of
it; else the run is an error. Runs in a child of the server.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from antifragile._data_files import read_json
from antifragile._records import from_json, to_json
from antifragile.ablate.command.command import Command
from antifragile.ablate.command.metrics import Earlier, MetricSource
from antifragile.ablate.command.notes import RunNotes, read_notes
from antifragile.ablate.command.overlay import Entered, Overlay, enter
from antifragile.ablate.command.program import OUT, path_of_fork, run_program
from antifragile.ablate.command.proof import WatchedFiles, note_opened, path_now, prove
from antifragile.ablate.command.startup.notes import digest
from antifragile.ablate.sandbox.job import Job
from antifragile.ablate.sandbox.limits.landlock import keep_out_of
from antifragile.ablate.sandbox.loading import Refusal, stage

INPUTS, _PREVIEW = "inputs.safetensors", "preview.json"
NOTES, SERIES = "notes.jsonl", "series.json"
_UNIT_OF_PEAK = 1 if sys.platform == "darwin" else 1024  # of getrusage
_STARTUP = Path(__file__).parent / "startup"
_PACKAGE = Path(__file__).parents[1]  # what runs the runs; a script's traceback opens its files
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One run of a command, or a preview of its first steps.

    Args:
        command: The command.
        metrics: Where its metrics are.
        files: The files that variants edit, as this run has them.
        seeds: Handed to the command, by their places; ``seed`` to the start-up hook too.
        stream: Seed of the global streams once the models are built; None for the baseline's.
        run: A folder for the run's output, which exists.
        scratch: A folder for the overlay and values on their way between processes, which exists.
        mounts: Whether files are laid over the repository, or it is copied (see `overlay.enter`).
        opened: File to leave the names of opened files in, as `source.opened` reads them.
        starts: File of the baseline's initial values; None for the baseline.
        keeps: File to leave the initial values in; None to keep none.
        own_values: Parameters that start from the variant's own values.
        preview_steps: Steps after which a preview ends; 0 for a run.
        like: Notes of a run by a Python that was started; a fork of this process, which has
            imported the same packages, is to be like it. None to start a Python.
    """

    command: Command
    metrics: tuple[MetricSource, ...]
    files: WatchedFiles
    seeds: dict[str, int]
    stream: int | None
    run: str
    scratch: str
    mounts: bool
    opened: str
    starts: str | None = None
    keeps: str | None = None
    own_values: tuple[str, ...] = ()
    preview_steps: int = 0
    like: str | None = None

    def job(self) -> Job:
        """Prepare it for the server."""
        return Job(
            target=preview_job if self.preview_steps else launch_job,
            folder=self.run,
            arguments={"run": to_json(self)},
            script=self.command.words[0],
            is_confined=False,
        )


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
        ran: The Python files of the repository that were executed.
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
    ran: tuple[str, ...] = ()


def launch_job(run: dict[str, Any]) -> dict[str, float]:
    """Run a command on a variant, or on the baseline.

    Args:
        run: A `Launch` as JSON data.

    Returns:
        The metrics.

    Raises:
        Refusal: It failed, executed other files than the edited ones, or left no metric.
    """
    given: Launch = from_json(Launch, run)
    like = RunNotes() if given.like is None else read_notes(Path(given.like))
    entered, places, earlier = _launched(given, path_of_fork(like))
    notes = read_notes(Path(given.run, NOTES))
    prove(notes, entered, given.files)
    # What a fork's packages opened as they were imported counts too.
    notes = replace(notes, opened=tuple(dict.fromkeys((*notes.opened, *like.opened))))
    note_opened(notes, Path(given.opened), given.command.repository)
    if given.keeps is not None and not Path(given.keeps).exists():
        save_file({}, given.keeps)  # it built no model by a class of the user's
    folder, place = Path(entered.path(given.command.folder)), Path(given.run)
    values = {source: source.values(places, folder, place, was) for source, was in earlier.items()}
    (place / SERIES).write_text(_series(values), encoding="utf-8")
    return {source.name: source.picked(found) for source, found in values.items()}


def _series(values: Mapping[MetricSource, Sequence[float]]) -> str:
    """Write all values of each metric as JSON, which has no word for those that are not finite."""
    plain = {
        source.name: [value if math.isfinite(value) else None for value in found]
        for source, found in values.items()
    }
    return json.dumps(plain, allow_nan=False)


def preview_job(run: dict[str, Any]) -> PreviewSeen:
    """Run a command for a few steps, and say what it trains.

    Args:
        run: A `Launch` as JSON data.

    Raises:
        Refusal: It failed, ended without a training step, or trains in code that is no file.
    """
    given: Launch = from_json(Launch, run)
    entered, places, _ = _launched(given)
    path = Path(given.scratch, _PREVIEW)
    if not path.is_file():
        prove(read_notes(Path(given.run, NOTES)), entered, given.files)
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
        ran=_own_python(given, entered, seen.script),
        arguments=tuple(map(with_out, seen.arguments)),
        variables={name: with_out(value) for name, value in seen.variables.items()},
    )


def _own_python(given: Launch, entered: Entered, script: str) -> tuple[str, ...]:
    """The Python files of the user's repository that a run executed, by their paths outside."""
    opened = read_notes(Path(given.run, NOTES)).opened
    read = {path for path, is_read in opened if is_read and path.endswith(".py")}
    files = map(entered.outside, sorted(read | {script}))
    return tuple(file for file in files if file.startswith(given.command.repository + os.sep))


def _launched(
    given: Launch, path: Sequence[str] = ()
) -> tuple[Entered, dict[str, str], dict[MetricSource, Earlier]]:
    """Run the command to its end.

    Args:
        given: The run.
        path: See `program.run_program`.

    Returns:
        The repository as it was seen, what stood for places, and what the metrics were before.
    """
    command, scratch, place = given.command, Path(given.scratch), Path(given.run)
    out = place / OUT
    out.mkdir(parents=True)
    (scratch / NOTES).touch()
    overlay = Overlay(
        repository=command.repository, edited=given.files.edited, open_folders=(str(place),)
    )
    with stage("preparing the repository"):
        entered = enter(overlay, scratch / "overlay", mounts=given.mounts)
    environment = _environment(given, entered)
    _describe(given, entered, environment)
    if not given.mounts:
        keep_out_of(os.path.realpath(command.repository), but=_writable(given))
    places = {**{place: str(seed) for place, seed in given.seeds.items()}, "out": str(out)}
    sources = [replace(source, path=entered.path(source.path)) for source in given.metrics]
    folder = Path(entered.path(command.folder))
    earlier = {source: source.earlier(places, folder) for source in sources}
    filled = zip(command.words, command.filled(places), strict=True)
    words = [entered.path(word) if typed.startswith(os.sep) else word for typed, word in filled]
    until = Path(given.scratch, _PREVIEW) if given.preview_steps else None
    with stage("the command"):
        run_program(words, str(folder), place, environment, until=until, path=path)
    shutil.copyfile(scratch / NOTES, place / NOTES)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _UNIT_OF_PEAK
    ended = {"kind": "ended", "peak_bytes": peak, "is_forked": bool(path)}
    with (place / NOTES).open("a", encoding="utf-8") as notes:
        notes.write(f"\n{json.dumps(ended)}\n")
    return entered, places, earlier


def _writable(given: Launch) -> list[str]:
    """The folders in which a run in a copy may write, wherever they are."""
    temporary = os.path.realpath(tempfile.gettempdir())
    is_above = os.path.realpath(given.command.repository).startswith(temporary + os.sep)
    found = [given.run, given.scratch, *([] if is_above else [temporary])]
    return list(map(os.path.realpath, found))


def _describe(given: Launch, entered: Entered, environment: Mapping[str, str]) -> None:
    """Write what the start-up hook needs to know."""
    repository, files = given.command.repository, given.files
    python = (sys.prefix, sys.base_prefix, os.path.dirname(os.__file__))
    own = (given.scratch, given.run, str(_PACKAGE), *([given.starts] if given.starts else ()))
    system = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib")
    description = {
        "notes": str(Path(given.scratch, NOTES)),
        "watched": [path_now(entered, path) for path in files.hashes],
        "roots": [
            os.path.realpath(entered.path(root)) + os.sep for root in (repository, *files.packages)
        ],
        "quiet": [os.path.realpath(place) for place in (*own, *python, *system)],
        "seed": given.seeds["seed"],
        "reseeds": given.command.reseeds,
        "saves": given.keeps or "",
        "starts": given.starts or "",
        "stream": given.stream,
        "own_values": list(given.own_values),
        "fenced": "" if given.mounts else os.path.realpath(repository),
        "writable": _writable(given),
        "preview_steps": given.preview_steps,
        "preview": given.scratch,
        "environment": {name: digest(value) for name, value in environment.items()},
    }
    Path(given.scratch, "run.json").write_text(json.dumps(description), encoding="utf-8")


def _environment(given: Launch, entered: Entered) -> dict[str, str]:
    found = dict(os.environ)
    before = [entered.path(path) for path in found.get("PYTHONPATH", "").split(os.pathsep) if path]
    copied = [] if given.mounts else _import_roots(entered)
    found["PYTHONPATH"] = os.pathsep.join([str(_STARTUP), *copied, *before])
    found["ANTIFRAGILE_RUN"] = str(Path(given.scratch, "run.json"))
    if not given.mounts:
        found["TMPDIR"] = os.path.join(given.scratch, "tmp")
        os.mkdir(found["TMPDIR"])
    found["PYTHONDONTWRITEBYTECODE"] = "1"  # of an edited file, beside the user's
    found.setdefault("PYTHONHASHSEED", "0")
    return found | dict.fromkeys(_THREADS, str(given.command.threads))


def _import_roots(entered: Entered) -> list[str]:
    """Where packages of a copied repository are imported from, before an editable install."""
    places = [os.path.join(entered.root, name) for name in ("src", "")]
    return [place for place in places if os.path.isdir(place)]
