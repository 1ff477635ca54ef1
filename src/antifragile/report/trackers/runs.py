"""Trials as runs of an experiment tracker: parameters, curves over meta-loops, results.

The contents of a run are decided here; `trackers.tensorboard` and `trackers.mlflow` only write
them in their formats. Each writes a whole folder, or nothing.
"""

from __future__ import annotations

import math
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from antifragile._files import make_folder
from antifragile.analysis.convergence import TRIAL_KEY
from antifragile.analysis.source import Source
from antifragile.analysis.summary import Measure
from antifragile.config.architecture import file_stem
from antifragile.errors import UsageError, WorldError

_CURVES = ["validation_accuracy", "bounty_accuracy", "ablated_accuracy", "promoted", "train_loss"]
_RESULTS = [*(measure.column for measure in Measure), "peak_meta_loop"]
Value = str | int | float


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedRun:
    """One trial.

    Args:
        architecture: Canonical name.
        mode: Mode name.
        trial: 1-based.
        parameters: The study, the trial and its training options.
        meta_loops: (n,) int64, 1-based, of its records.
        times: (n,) float64, seconds since 1970: when the study was added to its store, and from
            there the time that the trial's own meta-loops took.
        curves: Values by name, (n,) float64: accuracies in percent, promoted as 0 or 1, loss in
            nats; NaN where a record has no value.
        results: Results of a finished trial: peak, final and test accuracy in percent, and the
            meta-loop of the peak; empty before.
    """

    architecture: str
    mode: str
    trial: int
    parameters: Mapping[str, Value]
    meta_loops: np.ndarray
    times: np.ndarray
    curves: Mapping[str, np.ndarray]
    results: Mapping[str, float]

    @property
    def name(self) -> str:
        """A readable name: ``"1*64 hidden, trial 3"``."""
        return f"{self.architecture} {self.mode}, trial {self.trial}"

    @property
    def folder(self) -> Path:
        """The folder of its files: ``1x64/hidden/trial-003``."""
        mode = re.sub(r"[^\w.+-]+", "-", self.mode)
        return Path(file_stem(self.architecture)) / mode / f"trial-{self.trial:03d}"

    def points(self, *, result: str = "") -> Iterator[tuple[str, int, float, float]]:
        """Every value that there is, curves then results: name, meta-loop, time, value.

        Args:
            result: Prefix of the names of results, which stand at the last record.
        """
        for name, values in self.curves.items():
            for meta_loop, at, value in zip(self.meta_loops, self.times, values, strict=True):
                if not math.isnan(value):
                    yield name, int(meta_loop), float(at), float(value)
        for name, value in self.results.items():
            yield f"{result}{name}", int(self.meta_loops[-1]), float(self.times[-1]), value


RunWriter = Callable[[TrackedRun], None]


def export_runs(source: Source, folder: Path, begin: Callable[[Path], RunWriter]) -> int:
    """Write a run for every trial with records, into a folder that appears when all are written.

    Args:
        source: A study from a store.
        folder: New or empty.
        begin: Takes the folder to fill and returns the function that writes one run into it.

    Returns:
        How many runs.

    Raises:
        UsageError: The folder holds something.
        WorldError: It cannot be written.
    """
    n_runs = 0
    with new_folder(folder) as temporary:
        write = begin(temporary)
        for run in tracked_runs(source):
            write(run)
            n_runs += 1
    return n_runs


def tracked_runs(source: Source) -> Iterator[TrackedRun]:
    """A run per trial that has records, in the order of the records.

    Args:
        source: From a store; a CSV has no records.
    """
    records = source.meta_loops
    if records is None or records.empty:
        return
    spec = source.origin["spec"]
    shared: dict[str, Value] = {
        "study": source.name,
        **{name: spec[name] for name in ("dataset", "preset", "pairing", "seed")},
        **spec["training"],
    }
    begin = datetime.fromisoformat(source.origin["created_at"]).timestamp()
    finished = source.trials.set_index(TRIAL_KEY).reindex(columns=_RESULTS).astype(float)
    results: dict[Any, dict[Any, float]] = finished.to_dict(orient="index")
    for key, rows in records.groupby(TRIAL_KEY, sort=False):
        architecture, mode, trial = str(key[0]), str(key[1]), int(str(key[2]))
        about: dict[str, Value] = {"architecture": architecture, "mode": mode, "trial": trial}
        yield TrackedRun(
            architecture=architecture,
            mode=mode,
            trial=trial,
            parameters={**about, **shared},
            meta_loops=rows["meta_loop"].to_numpy(dtype=np.int64),
            times=begin + rows["seconds"].cumsum().to_numpy(dtype=float),
            curves=_curves(rows),
            results=results.get((architecture, mode, trial), {}),
        )


def _curves(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    found = {name: rows[name].to_numpy(dtype=float) for name in _CURVES}
    return {name: values for name, values in found.items() if not np.isnan(values).all()}


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which appears at ``path`` only when all of it is written.

    Raises:
        UsageError: Something is there already.
        WorldError: It cannot be written.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise UsageError(f"{path} already holds something; give a new folder with --out.")
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.mkdir()
        yield temporary
        if path.is_dir():
            path.rmdir()
        temporary.rename(path)
    except OSError as error:
        raise WorldError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
