"""One task: some trials of a study, run to their end, written to the store as they go.

The order of writes makes every kill harmless: records first, then the checkpoint that lies
behind them, and at the end the last records and the result in one transaction. A checkpoint is
believed only as far as the store has records, so a replayed meta-loop finds its record there.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path

from antifragile.config import Keep, TrialSpec
from antifragile.data import Dataset
from antifragile.engine import (
    MetaLoopRecord,
    TrialState,
    finish,
    load_checkpoint,
    meta_loops,
    save_checkpoint,
    trial_fingerprint,
)
from antifragile.errors import CheckpointError
from antifragile.store import Environment, Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """A trial that is not finished: its number in the store and how far its records reach."""

    trial_id: int
    spec: TrialSpec
    recorded_meta_loops: int


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker is handed: everything but the open store and the data themselves.

    Args:
        trials: Run one after another.
        store_url: Where a worker process opens the store.
        files: Folder of the study's checkpoints and kept weights.
        data_dir: Where to look for data files first.
        data_sha256: The content the study is about.
        environment: Threads, device and so on, fixed by the plan.
        keep: Whether the last state of a finished trial stays.
        checkpoint_every_s: Least time between two checkpoints of a trial, in seconds.
    """

    trials: tuple[PlannedTrial, ...]
    store_url: str
    files: Path
    data_dir: Path | None
    data_sha256: str
    environment: Environment
    keep: Keep
    checkpoint_every_s: float

    @property
    def label(self) -> str:
        """For progress displays: ``"4*4 hidden"``."""
        spec = self.trials[0].spec
        return f"{spec.architecture} {spec.mode}"

    def checkpoint_path(self, spec: TrialSpec) -> Path:
        """The file of one trial's state."""
        stem = re.sub(r"[^0-9x]+", "-", spec.architecture.name.replace("*", "x")).strip("-")
        if len(stem) > 60:
            stem = hashlib.sha256(spec.architecture.name.encode()).hexdigest()[:16]
        return self.files / f"{stem}_{spec.mode}_{spec.trial:03d}.safetensors"


def run_task(task: Task, store: Store, data: Dataset) -> None:
    """Run every trial of the task from where it stands to its end."""
    for trial in task.trials:
        _TrialRun(task, trial, store, data).run()


class _TrialRun:
    """One trial on its way: the records not written yet, and when the last ones were."""

    def __init__(self, task: Task, trial: PlannedTrial, store: Store, data: Dataset) -> None:
        self.task, self.trial, self.store, self.data = task, trial, store, data
        self.path = task.checkpoint_path(trial.spec)
        self.fingerprint = trial_fingerprint(trial.spec, task.data_sha256)
        self.state = self._resume()
        self.pending: list[MetaLoopRecord] = []
        self.written_at = time.monotonic()

    def run(self) -> None:
        spec, threads = self.trial.spec, self.task.environment.threads
        try:
            for record, state in meta_loops(spec, self.data, start=self.state, threads=threads):
                self.pending.append(record)
                self.state = state
                due = time.monotonic() - self.written_at >= self.task.checkpoint_every_s
                if due and state.meta_loop < spec.meta_loops:
                    self._write()
        except KeyboardInterrupt:
            self._write()
            raise
        self._finish()

    def _write(self) -> None:
        if not self.pending or self.state is None:
            return
        self.store.add_records(self.trial.trial_id, self.pending, self.task.environment)
        self.pending = []
        save_checkpoint(self.path, self.state, fingerprint=self.fingerprint)
        self.written_at = time.monotonic()

    def _finish(self) -> None:
        assert self.state is not None
        spec, threads = self.trial.spec, self.task.environment.threads
        result = finish(spec, self.data, self.state, threads=threads)
        if self.task.keep is Keep.LKG:
            # The kept state is the last checkpoint. Were it written after the result, a kill
            # in between would leave a finished trial that cannot be extended.
            self.store.add_records(self.trial.trial_id, self.pending, self.task.environment)
            self.pending = []
            save_checkpoint(self.path, self.state, fingerprint=self.fingerprint)
        self.store.finish_trial(self.trial.trial_id, self.pending, result, self.task.environment)
        if self.task.keep is Keep.NONE:
            self.path.unlink(missing_ok=True)

    def _resume(self) -> TrialState | None:
        if not self.trial.recorded_meta_loops or not self.path.exists():
            return None
        try:
            state, _ = load_checkpoint(self.path, fingerprint=self.fingerprint)
        except CheckpointError as error:
            logger.warning("%s The trial starts again from its first meta-loop.", error)
            return None
        spec = self.trial.spec
        usable = state.meta_loop <= min(self.trial.recorded_meta_loops, spec.meta_loops)
        return state.on(self.task.environment.device) if usable else None
