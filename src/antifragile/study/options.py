"""Options of running a study, such as workers and device: none of them belongs to its spec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from antifragile._files import check_folder_path
from antifragile.errors import UsageError, nearest
from antifragile.fleet.planning.plan import PRECISIONS
from antifragile.study.machine import check_device, usable_cores
from antifragile.study.trainers import EngineName

CHECKPOINT_EVERY_S = 5.0
MEMORY_BUDGET_GIB = 8.0
_SMALLEST_BUDGET_GIB = 1 / 64


class RunKeywords(TypedDict, total=False):
    """The fields of `RunOptions` as keyword arguments of `run_study` and its companions."""

    workers: int | None
    executor: str | None
    engine: EngineName | str
    device: str
    precision: str
    memory_budget_gib: float
    data_dir: Path | None
    files: Path | None
    mix_machines: bool
    checkpoint_every_s: float


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of running a study.

    Args:
        workers: Worker processes; 1 runs in this process, None is one per core, or 1 when the
            work is predicted to be done at once. The results do not depend on it.
        executor: Name of the executor (`executors.registry`); None chooses by ``workers``.
        engine: ``fleet`` trains many trials of one architecture together, ``plain`` is the
            readable reference, one trial at a time.
        device: ``cpu``, ``cuda`` or ``mps``.
        precision: ``fp32``, or ``bf16`` products with float32 master weights (fleet only).
        memory_budget_gib: GiB for data and buffers of all workers together (fleet only).
        data_dir: Where to look for data files first.
        files: Folder for checkpoints and kept weights; beside an SQLite store by default.
        mix_machines: Go on with a study that another kind of machine began.
        checkpoint_every_s: Least time between two checkpoints of a task, in seconds.

    Raises:
        UsageError: A value that cannot be.
    """

    workers: int | None = 1
    executor: str | None = None
    engine: EngineName | str = EngineName.FLEET
    device: str = "cpu"
    precision: str = "fp32"
    memory_budget_gib: float = MEMORY_BUDGET_GIB
    data_dir: Path | None = None
    files: Path | None = None
    mix_machines: bool = False
    checkpoint_every_s: float = CHECKPOINT_EVERY_S

    def __post_init__(self) -> None:
        check_device(self.device)
        self._check_numbers()
        if self.engine not in list(EngineName):
            raise UsageError(
                f"engine {self.engine!r} is unknown; {nearest(str(self.engine), EngineName)}"
            )
        object.__setattr__(self, "engine", EngineName(self.engine))
        self._check_precision()
        if self.files is not None:
            check_folder_path(self.files)

    @classmethod
    def read(cls, given: RunKeywords) -> RunOptions:
        """Make the options from keyword arguments.

        Raises:
            UsageError: A name that is none, or a value that cannot be.
        """
        known = RunKeywords.__annotations__
        for name in given:
            if name not in known:
                raise UsageError(f"unknown option {name!r}; {nearest(name, known)}")
        return cls(**given)

    @property
    def most_workers(self) -> int:
        """The number asked for, or one per core this process may use."""
        return self.workers or usable_cores()

    def memory_budget_bytes(self, workers: int) -> int:
        """The share of one of so many workers in the memory budget."""
        return int(self.memory_budget_gib * 2**30 / workers)

    def _check_numbers(self) -> None:
        workers, smallest = 1 if self.workers is None else self.workers, _SMALLEST_BUDGET_GIB
        for option, value, least, shown in (
            ("--workers", workers, 1, "1"),
            ("--checkpoint-every", self.checkpoint_every_s, 0, "0 seconds"),
            ("--memory-budget", self.memory_budget_gib, smallest, f"{smallest:.3f} GiB"),
        ):
            if not value >= least:
                raise UsageError(f"{option} must be at least {shown}; got {value}.")

    def _check_precision(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"precision {self.precision!r} is unknown; {nearest(self.precision, PRECISIONS)}"
            )
        if self.engine is EngineName.PLAIN and self.precision != "fp32":
            raise UsageError(
                f"--engine plain computes in fp32; got {self.precision!r}. Use --engine fleet."
            )
