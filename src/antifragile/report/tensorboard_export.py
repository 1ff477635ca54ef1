"""TensorBoard event files, one folder per trial; look at them with ``tensorboard --logdir DIR``.

Parameters and results are in the tab HPARAMS, curves in SCALARS, over meta-loops.
"""

from __future__ import annotations

import math
from pathlib import Path

from antifragile._optional import require
from antifragile.analysis import Source
from antifragile.report.runs import TrackedRun, new_folder, tracked_runs

_RESULT = "result/"
_NEEDED = {"extra": "tensorboard", "purpose": "TensorBoard export"}


def export_tensorboard(source: Source, folder: Path) -> int:
    """Write a run for every trial with records.

    Args:
        source: A study from a store.
        folder: New or empty.

    Returns:
        How many runs.

    Raises:
        MissingExtraError: tensorboard is not installed.
        UsageError: The folder holds something.
        WorldError: It cannot be written.
    """
    require("tensorboard", **_NEEDED)
    n_runs = 0
    with new_folder(folder) as temporary:
        for run in tracked_runs(source):
            _write(run, temporary / run.folder)
            n_runs += 1
    return n_runs


def _write(run: TrackedRun, folder: Path) -> None:
    summary = require("torch.utils.tensorboard.summary", **_NEEDED)
    files = require("torch.utils.tensorboard.writer", **_NEEDED)
    begin, end = float(run.times[0]), float(run.times[-1])
    writer = files.FileWriter(str(folder))
    try:
        metrics = dict.fromkeys((f"{_RESULT}{name}" for name in run.results), 0.0)
        for part in summary.hparams(dict(run.parameters), metrics):
            writer.add_summary(part, walltime=begin)
        for name, values in run.curves.items():
            for step, at, value in zip(run.meta_loops, run.times, values, strict=True):
                if not math.isnan(value):
                    writer.add_summary(summary.scalar(name, value), int(step), walltime=float(at))
        for name, value in run.results.items():
            last = int(run.meta_loops[-1])
            writer.add_summary(summary.scalar(f"{_RESULT}{name}", value), last, walltime=end)
    finally:
        writer.close()
