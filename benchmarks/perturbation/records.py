"""Settings and results of an experiment on perturbed equations.

An experiment takes `BenchSettings` and returns a `BenchResult`: frames of numbers, the grids they
were measured on, and what they cost on both axes, gradient evaluations and seconds. A gradient
evaluation is one forward and backward pass of one run over one batch. Seconds of a run are
processor seconds, which other work on the machine does not change; runs are batched (ten seeds in
one tensor), so they are those of its batch over the number of runs in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from antifragile.errors import UsageError

Say = Callable[[str], None]
"""Takes a line of progress."""

MAX_SEEDS = 1000


def say_nothing(line: str) -> None:
    """Take a line of progress nowhere; a plain function, which can be sent to a worker."""


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """Size and place of an experiment.

    Args:
        seeds: Runs per row, from 1.
        quick: A short form of the same code, for tests; its numbers are not results.
        data_dir: Folder that is searched for data files first.
        workers: Number of processes, each with one thread of torch.
        folder: Folder of finished parts; a run that was stopped goes on from them.
        say: Takes lines of progress.

    Raises:
        UsageError: Fewer than one seed or worker, or more than 1000 seeds.
    """

    seeds: int = 10
    quick: bool = False
    data_dir: Path | None = None
    workers: int = 1
    folder: Path | None = None
    say: Say = field(default=say_nothing, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= MAX_SEEDS:
            raise UsageError(f"an experiment needs 1 to {MAX_SEEDS} seeds; got {self.seeds}.")
        if self.workers < 1:
            raise UsageError(f"an experiment needs a worker or more; got {self.workers}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class BenchResult:
    """Results of an experiment.

    Args:
        name: Name of the experiment.
        grids: Sizes, steps and magnitudes, fixed beforehand.
        rows: The table: one row per method and setting, aggregated over seeds.
        runs: One row per run; `rows` follow from them.
        curves: Long frame of curves over steps, for the figure; may be empty.
        notes: Sentences that belong below the table.
        gradient_evaluations: Sum over all runs.
        seconds: Wall time of its parts, one after another.
        cpu_seconds: Processor time of its parts.
    """

    name: str
    grids: Mapping[str, Any]
    rows: pd.DataFrame
    runs: pd.DataFrame
    curves: pd.DataFrame
    notes: tuple[str, ...] = ()
    gradient_evaluations: int
    seconds: float
    cpu_seconds: float
