"""One trial outside any study: train, look at the curve, keep the LKG, go on later.

The folder holds two files. ``lkg.safetensors`` is the state (weights, bounty, where it stands);
``lkg.json`` says in plain words how it came to be, with every meta-loop's record. A trial may
go on in another mode ("disrupting training traps", PSA paper, section V): each mode's
stretch is a segment.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from antifragile._files import check_folder_path, write_atomically
from antifragile._records import from_json, read_json
from antifragile.config.run import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.checkpoint import load_checkpoint, save_checkpoint, trial_fingerprint
from antifragile.engine.loop import TrialState
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.errors import CheckpointError, UsageError
from antifragile.store.records import Environment
from antifragile.store.writing import record_values
from antifragile.study.equations import plan_trial
from antifragile.study.folder import only_writer
from antifragile.study.options import RunOptions
from antifragile.study.trainers import Trainer

logger = logging.getLogger(__name__)

WEIGHTS_FILE = "lkg.safetensors"
STORY_FILE = "lkg.json"
_WRITE_EVERY_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of meta-loops in one mode, first and last included."""

    mode: str
    first: int
    last: int


@dataclass(kw_only=True)
class SingleTrial:
    """A trial that is being trained, and its folder.

    Args:
        spec: The trial; ``spec.meta_loops`` counts the meta-loops of the present mode's segment.
        data: Its data set.
        folder: Where the two files lie.
        environment: Kernel, device and machine that compute it.
        trainer: The fleet, or the readable engine.
        segments: Stretches so far, the present one last.
        records: Records of all meta-loops so far.
        state: Where it stands, None before the first meta-loop.
    """

    spec: TrialSpec
    data: Dataset
    folder: Path
    environment: Environment
    trainer: Trainer
    segments: list[Segment] = field(default_factory=list)
    records: list[MetaLoopRecord] = field(default_factory=list)
    state: TrialState | None = None

    def run(self) -> Iterator[MetaLoopRecord]:
        """Run the segment to its end, writing both files every few seconds and at any stop."""
        segment = self._current_segment()
        spec = replace(self.spec, meta_loops=segment.last)
        written_at = time.monotonic()
        try:
            for turn in self.trainer.turns([spec], self.data, [self.state]):
                (record,), (self.state,) = turn.records, turn.states()
                assert record is not None, "a single trial has a record of every turn"
                self.records.append(record)
                yield record
                if time.monotonic() - written_at > _WRITE_EVERY_S:
                    self._write(None)
                    written_at = time.monotonic()
        except (KeyboardInterrupt, GeneratorExit):
            self._write(None)
            raise

    def finish(self) -> TrialResult:
        """Test the LKG and write the files a last time."""
        assert self.state is not None
        (result,) = self.trainer.finish([self.spec], self.data, [self.state])
        self._write(result)
        return result

    def _current_segment(self) -> Segment:
        done = self.state.meta_loop if self.state else 0
        if not self.segments or self.segments[-1].mode != self.spec.mode:
            self.segments.append(
                Segment(mode=self.spec.mode, first=done + 1, last=done + self.spec.meta_loops)
            )
        else:
            last = self.segments[-1].first + self.spec.meta_loops - 1
            if last < done:
                raise UsageError(
                    f"the trial in {self.folder} already has {done - self.segments[-1].first + 1} "
                    f"meta-loops in mode {self.spec.mode!r}; give a larger --meta-loops or another "
                    "--mode to go on."
                )
            self.segments[-1] = replace(self.segments[-1], last=last)
        return self.segments[-1]

    def _write(self, result: TrialResult | None) -> None:
        if self.state is None:
            return
        # The story first: on resume, records beyond the state's meta-loop are dropped.
        story = json.dumps(self._story(result), indent=1, allow_nan=False)
        write_atomically(self.folder / STORY_FILE, story.encode())
        fingerprint = trial_fingerprint(self.spec, self.data.sha256, any_mode=True)
        save_checkpoint(self.folder / WEIGHTS_FILE, self.state, fingerprint=fingerprint)

    def _story(self, result: TrialResult | None) -> dict[str, Any]:
        assert self.state is not None
        spec, validation = self.spec, 100 / self.data.validation.n_samples
        test = result and 100 * result.test_correct / self.data.test.n_samples
        return {
            "dataset": spec.dataset,
            "data_sha256": self.data.sha256,
            "architecture": spec.architecture.name,
            "parameters": spec.architecture.parameter_count(
                self.data.n_inputs, self.data.n_classes
            ),
            "seed": spec.seed,
            "trial": spec.trial,
            "pairing": str(spec.pairing),
            "training": spec.training.to_mapping(),
            "environment": asdict(self.environment),
            "segments": [asdict(segment) for segment in self.segments],
            "meta_loop": self.state.meta_loop,
            "peak_meta_loop": self.state.lkg.meta_loop,
            "peak_validation_accuracy": self.state.lkg.bounty * validation,
            "test_accuracy": test,
            "records": [record_values(record) for record in self.records],
        }


@contextmanager
def open_single_trial(
    spec: TrialSpec, data: Dataset, folder: Path, options: RunOptions, *, resume: bool
) -> Iterator[SingleTrial]:
    """Start in an empty folder, or go on with what a folder holds; no other process may meanwhile.

    Args:
        spec: The trial.
        data: Its data set.
        folder: Where its files lie.
        options: Engine, device and so on.
        resume: Whether to go on with what is there; where nothing is yet, the trial starts.

    Raises:
        UsageError: The folder holds a trial and ``resume`` is off, or another process is at it.
        CheckpointError: It is damaged, or another trial's.
    """
    check_folder_path(folder)
    plan = plan_trial(spec, data, options)
    trial = SingleTrial(
        spec=spec, data=data, folder=folder, environment=plan.environment, trainer=plan.trainer
    )
    if not resume:
        _check_is_free(folder)
    with only_writer(folder):
        if not resume:
            _check_is_free(folder)  # another process may have been faster
        elif (folder / WEIGHTS_FILE).exists():
            _go_on(trial, device=options.device)
        else:
            logger.warning("nothing to resume in %s yet; the trial starts.", folder)
        yield trial


def _check_is_free(folder: Path) -> None:
    if (folder / WEIGHTS_FILE).exists():
        raise UsageError(
            f"{folder} already holds a trained network; add --resume to go on with it, or choose "
            "another folder with --out."
        )


def _go_on(trial: SingleTrial, *, device: str) -> None:
    """Read what the folder holds."""
    spec, data = trial.spec, trial.data
    fingerprint = trial_fingerprint(spec, data.sha256, any_mode=True)
    sizes = spec.architecture.layer_sizes(data.n_inputs, data.n_classes)
    weights = trial.folder / WEIGHTS_FILE
    state, _ = load_checkpoint(weights, fingerprint=fingerprint, layer_sizes=sizes)
    trial.state = state.on(device)
    trial.segments, records = read_story(trial.folder / STORY_FILE)
    trial.records = [record for record in records if record.meta_loop <= state.meta_loop]


def read_story(path: Path) -> tuple[list[Segment], list[MetaLoopRecord]]:
    """Read the segments and records of a trial's ``lkg.json``.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    try:
        story = read_json(path)
        segments = from_json(tuple[Segment, ...], story["segments"])
        records = from_json(tuple[MetaLoopRecord, ...], [_nan(item) for item in story["records"]])
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(
            f"{path} is missing or damaged ({reason}); restore it, or start anew in another folder."
        ) from error
    return list(segments), list(records)


def _nan(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"train_loss": math.nan} if values["train_loss"] is None else values
