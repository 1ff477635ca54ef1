"""TensorBoard event files, one folder per trial; look at them with ``tensorboard --logdir DIR``.

Parameters and results are in the tab HPARAMS, curves in SCALARS, over meta-loops.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from antifragile._optional import require
from antifragile.analysis.source import Source
from antifragile.report.trackers.runs import TrackedRun, export_runs

_RESULT = "result/"
_NEEDED = {"extra": "tensorboard", "purpose": "TensorBoard export"}


def export_tensorboard(source: Source, folder: Path) -> int:
    """Write a run for every trial with records; see `export_runs`.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """
    require("tensorboard", **_NEEDED)
    return export_runs(source, folder, lambda temporary: partial(_write, temporary))


def _write(folder: Path, run: TrackedRun) -> None:
    summary = require("torch.utils.tensorboard.summary", **_NEEDED)
    files = require("torch.utils.tensorboard.writer", **_NEEDED)
    writer = files.FileWriter(str(folder / run.folder))
    try:
        metrics = dict.fromkeys((f"{_RESULT}{name}" for name in run.results), 0.0)
        for part in summary.hparams(dict(run.parameters), metrics):
            writer.add_summary(part, walltime=float(run.times[0]))
        for name, meta_loop, at, value in run.points(result=_RESULT):
            writer.add_summary(summary.scalar(name, value), meta_loop, walltime=at)
    finally:
        writer.close()
