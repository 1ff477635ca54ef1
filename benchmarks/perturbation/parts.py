"""Run the independent parts of an experiment, keep what is finished, and make one result of them.

Parts run one after another or in several processes, and give the same numbers either way. A folder
keeps the parts that are done, one file each, so a run that was stopped goes on from there.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from antifragile._files import make_folder, write_atomically
from antifragile.engine.epoch import exact_numerics
from benchmarks.perturbation.records import BenchResult, BenchSettings

Frames = tuple[pd.DataFrame, pd.DataFrame]
"""The runs of a part, with a column ``gradient_evaluations``, and their curves (may be empty)."""
Aggregate = tuple[str, str | Callable[[pd.Series], float]]
"""A column of the runs and how its values become one."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of an experiment that runs by itself.

    Args:
        label: Its name, different from every other part's.
        run: Runs it; can be sent to another process.
    """

    label: str
    run: Callable[[], Frames]


@dataclass(frozen=True, kw_only=True, eq=False)
class Done:
    """The frames of a finished part, and its cost in seconds."""

    runs: pd.DataFrame
    curves: pd.DataFrame
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment that can be run by name.

    Args:
        name: The name on the command line.
        question: The question it answers, in a line.
        minutes: Processor minutes of the full form with 10 seeds, about.
        parts: Makes its parts, each with a label of its own.
        grids: Sizes, steps and magnitudes, fixed beforehand; saved parts must agree in them.
        summarise: Makes rows from runs.
        notes: Makes sentences from rows and grids.
    """

    name: str
    question: str
    minutes: float
    parts: Callable[[BenchSettings], Sequence[Part]]
    grids: Callable[[BenchSettings], Mapping[str, Any]]
    summarise: Callable[[pd.DataFrame], pd.DataFrame]
    notes: Callable[[pd.DataFrame, Mapping[str, Any]], Sequence[str]]

    def run(self, settings: BenchSettings) -> BenchResult:
        """Run all parts and make one result of them; saved parts must agree in seeds and form."""
        grids = self.grids(settings)
        done = run_parts(self.name, self.parts(settings), settings, grids)
        runs = pd.concat([part.runs for part in done], ignore_index=True)
        curves = [part.curves for part in done if len(part.curves)]
        rows = self.summarise(runs)
        return BenchResult(
            name=self.name,
            grids=grids,
            rows=rows,
            runs=runs,
            curves=pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(),
            notes=tuple(self.notes(rows, grids)),
            gradient_evaluations=int(runs["gradient_evaluations"].sum()),
            seconds=sum(part.seconds for part in done),
            cpu_seconds=sum(part.cpu_seconds for part in done),
        )


def summarised(runs: pd.DataFrame, keys: Sequence[str], **columns: Aggregate) -> pd.DataFrame:
    """A row per setting in order of appearance: its keys, the columns, and the cost of a run.

    Args:
        runs: One row per run.
        keys: The columns that make a setting.
        columns: Name to (column of the runs, how it is put together).
    """
    cost = {name: (name, pd.Series.mean) for name in ("gradient_evaluations", "seconds")}
    rows = runs.groupby(list(keys), sort=False).agg(**columns, **cost).reset_index()
    return rows.astype({"gradient_evaluations": int})


def run_parts(
    name: str, parts: Sequence[Part], settings: BenchSettings, grids: Mapping[str, Any]
) -> list[Done]:
    """Run parts or take them from the folder; the answers are in the order of the parts."""
    folder = None if settings.folder is None else settings.folder / f"{name}-parts"
    if folder is not None:
        make_folder(folder)
    paths = [
        None if folder is None else folder / _file_name(part, settings, grids) for part in parts
    ]
    done = {i: _load(path) for i, path in enumerate(paths) if path is not None and path.is_file()}
    waiting = {i: part for i, part in enumerate(parts) if i not in done}
    for i, found in _run(waiting, settings.workers):
        if (path := paths[i]) is not None:
            _save(found, path)
        done[i] = found
        settings.say(f"{name} {len(done)}/{len(parts)}: {parts[i].label} ({found.seconds:.0f} s)")
    return [done[i] for i in range(len(parts))]


def _run(waiting: Mapping[int, Part], workers: int) -> Iterator[tuple[int, Done]]:
    """Run parts and yield each with its place as soon as it is done."""
    if workers == 1 or len(waiting) < 2:
        for i, part in waiting.items():
            yield i, _measure(part)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_measure, part): i for i, part in waiting.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _measure(part: Part) -> Done:
    with exact_numerics(threads=1):
        wall, cpu = time.perf_counter(), time.process_time()
        runs, curves = part.run()
    return Done(
        runs=runs,
        curves=curves,
        seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
    )


def _file_name(part: Part, settings: BenchSettings, grids: Mapping[str, Any]) -> str:
    told = json.dumps([part.label, settings.seeds, settings.quick, grids])
    return f"{hashlib.blake2b(told.encode(), digest_size=12).hexdigest()}.json"


def _save(found: Done, path: Path) -> None:
    content = {
        "runs": found.runs.to_csv(index=False),
        "curves": found.curves.to_csv(index=False) if len(found.curves) else "",
        "seconds": found.seconds,
        "cpu_seconds": found.cpu_seconds,
    }
    write_atomically(path, json.dumps(content).encode())


def _load(path: Path) -> Done:
    content = json.loads(path.read_bytes())
    return Done(**content | {name: _frame(content[name]) for name in ("runs", "curves")})


def _frame(text: str) -> pd.DataFrame:
    if not text:
        return pd.DataFrame()
    return pd.read_csv(
        io.StringIO(text), float_precision="round_trip", keep_default_na=False, na_values=[""]
    )
