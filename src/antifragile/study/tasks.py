"""Tasks: some trials of one architecture, run to their end, written to the store as they go.

The order of writes makes every kill harmless: records first, then the checkpoints that lie
behind them, and at the end the last records and the results in one transaction. A checkpoint is
believed only as far as the store has records, so a replayed meta-loop finds its record there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from antifragile.config.specs.evaluate import Keep
from antifragile.config.specs.study import StudySpec
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.checkpoint import load_checkpoint, save_checkpoint, trial_fingerprint
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.engine.robustness import measure_robustness
from antifragile.engine.trial import TrialState
from antifragile.errors import CheckpointError
from antifragile.store.owner import Ownership
from antifragile.store.records import Environment
from antifragile.store.store import Store
from antifragile.study.equations import TrainingPlan
from antifragile.study.folder import state_file
from antifragile.study.plan import MissingTrial, StudyPlan
from antifragile.study.trainers import EngineName, Trainer, Turn

logger = logging.getLogger(__name__)

_RECORDS_EVERY_S = 1.0  # so that a live display sees them; cheaper than a checkpoint
# Thousands of layers make large headers: saving takes at most 4 % of the time.
_WORK_PER_SAVING = 25


@dataclass(frozen=True, kw_only=True)
class Task:
    """Work for an executor: everything but the open store and the data themselves.

    Args:
        trials: Trials of one architecture.
        trainer: Trains them.
        store_url: Where a worker process opens the store.
        files: Folder of the study's checkpoints and kept weights.
        data_dir: Where to look for data files first.
        data_sha256: Content of the study's data set.
        environment: Kernel, threads, device and so on, fixed by the plan.
        owner: The driver's claim to the study, without which nothing is written.
        keep: Whether the last state of a finished trial stays.
        robustness: Whether finished trials are tested under damage.
        checkpoint_every_s: Least time between two checkpoints, in seconds.
    """

    trials: tuple[MissingTrial, ...]
    trainer: Trainer
    store_url: str
    files: Path
    data_dir: Path | None
    data_sha256: str
    environment: Environment
    owner: Ownership
    keep: Keep
    robustness: bool
    checkpoint_every_s: float

    @property
    def label(self) -> str:
        """For progress displays: ``"4*4 hidden"``, or ``"4*4 (18 trials)"``."""
        spec = self.trials[0].spec
        if len(self.trials) == 1:
            return f"{spec.architecture} {spec.mode}"
        return f"{spec.architecture} ({len(self.trials)} trials)"

    def checkpoint_path(self, spec: TrialSpec) -> Path:
        """The file of one trial's state."""
        return state_file(self.files, spec)


def make_tasks(plan: StudyPlan, *, store_url: str, files: Path, owner: Ownership) -> list[Task]:
    """The tasks that finish a study.

    The readable engine gets one trial a task. The fleet gets the trials of one row of the plan
    together, in as many tasks as there are workers, or more where memory demands it.
    """
    tasks = [
        Task(
            trials=row.trials[start : start + size],
            trainer=row.training.trainer,
            store_url=store_url,
            files=files,
            data_dir=plan.options.data_dir,
            data_sha256=plan.data_sha256,
            environment=row.training.environment,
            owner=owner,
            keep=plan.spec.keep,
            robustness=plan.spec.evaluate.robustness,
            checkpoint_every_s=plan.options.checkpoint_every_s,
        )
        for row in plan.rows
        for size in [_trials_per_task(plan.spec, row.training, plan.options.most_workers)]
        for start in range(0, len(row.trials), size)
    ]
    if plan.options.engine is EngineName.PLAIN:  # a first result of every cell comes soonest
        tasks.sort(key=lambda task: task.trials[0].spec.trial)
    return tasks


def _trials_per_task(spec: StudySpec, training: TrainingPlan, workers: int) -> int:
    """Trials of all modes together, a task per worker; modes apart only to keep workers busy.

    The torch kernel pads to the same shapes however few trials it has, so it gets whole blocks.
    """
    fleet, modes = training.fleet, len(training.equation.modes)
    busy = len(spec.architectures) >= workers
    size = -(-spec.trials * modes // workers)
    if spec.trials >= workers or busy:
        size = -(-spec.trials // workers) * modes
    if fleet.kernel == "torch":
        block = fleet.group_size * fleet.groups_at_once
        size = -(-size // block) * block
    return max(1, min(fleet.fleet_size, size))  # the readable engine's fleet is one trial


def run_task(task: Task, store: Store, data: Dataset) -> None:
    """Run every trial of the task from where it stands to its end."""
    _TaskRun(task, store, data).run()


class _TaskRun:
    """A task that is running: the records not written yet, and when the last ones were."""

    def __init__(self, task: Task, store: Store, data: Dataset) -> None:
        self.task, self.store, self.data = task, store, data
        self.specs = [trial.spec for trial in task.trials]
        self.pending: dict[int, list[MetaLoopRecord]] = {}
        self.recorded_at = self.saved_at = time.monotonic()
        self.save_after_s = task.checkpoint_every_s

    def run(self) -> None:
        start = [self._resume(trial) for trial in self.task.trials]
        turn = None
        for turn in self.task.trainer.turns(self.specs, self.data, start):
            self._collect(turn)
            now, every = time.monotonic(), self.task.checkpoint_every_s
            if now - self.recorded_at >= min(_RECORDS_EVERY_S, every):
                self._write_records()
            if now - self.saved_at >= self.save_after_s:
                self._save(turn.states())
        states = start if turn is None else turn.states()
        self._finish([state for state in states if state is not None])

    def _collect(self, turn: Turn) -> None:
        for trial, record in zip(self.task.trials, turn.records, strict=True):
            if record is not None:
                self.pending.setdefault(trial.trial_id, []).append(record)

    def _write_records(self) -> None:
        self.store.add_records(self.pending, self.task.environment, owner=self.task.owner)
        self.pending = {}
        self.recorded_at = time.monotonic()

    def _save(self, states: Sequence[TrialState | None], *, durable: bool = False) -> None:
        started = time.monotonic()
        self._write_records()  # also tells whether the study is still ours
        for spec, state in zip(self.specs, states, strict=True):
            if state is not None:
                save_checkpoint(
                    self.task.checkpoint_path(spec),
                    state,
                    fingerprint=trial_fingerprint(spec, self.task.data_sha256),
                    durable=durable,
                )
        self.saved_at = time.monotonic()
        if self.task.checkpoint_every_s > 0:
            cost = self.saved_at - started
            self.save_after_s = max(self.task.checkpoint_every_s, _WORK_PER_SAVING * cost)

    def _finish(self, states: Sequence[TrialState]) -> None:
        results = self.task.trainer.finish(self.specs, self.data, states)
        if self.task.robustness:
            results = [
                self._damaged(*item) for item in zip(self.specs, states, results, strict=True)
            ]
        if self.task.keep is Keep.LKG:
            # The kept states are the last checkpoints. Were they written after the results, a
            # kill in between would leave finished trials that cannot be extended.
            self._save(states, durable=True)
        ids = [trial.trial_id for trial in self.task.trials]
        self.store.finish_trials(
            dict(zip(ids, results, strict=True)),
            self.pending,
            self.task.environment,
            owner=self.task.owner,
        )
        if self.task.keep is Keep.NONE:
            for spec in self.specs:
                self.task.checkpoint_path(spec).unlink(missing_ok=True)

    def _damaged(self, spec: TrialSpec, state: TrialState, result: TrialResult) -> TrialResult:
        threads = self.task.environment.threads
        records = measure_robustness(spec, self.data, state.best.weights, threads=threads)
        return replace(result, robustness=records)

    def _resume(self, trial: MissingTrial) -> TrialState | None:
        path = self.task.checkpoint_path(trial.spec)
        if not trial.recorded_meta_loops or not path.exists():
            return None
        fingerprint = trial_fingerprint(trial.spec, self.task.data_sha256)
        shape, network = trial.spec.architecture, trial.spec.training.network
        sizes = shape.layer_sizes(self.data.n_inputs, self.data.n_classes, network)
        try:
            state, _ = load_checkpoint(path, fingerprint=fingerprint, layer_sizes=sizes)
        except CheckpointError as error:
            logger.warning("%s The trial starts again from its first meta-loop.", error)
            return None
        usable = state.meta_loop <= min(trial.recorded_meta_loops, trial.spec.meta_loops)
        return state.on(self.task.environment.device) if usable else None
