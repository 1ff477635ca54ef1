"""One trial outside any study: train, look at the curve, keep the LKG, go on later.

The folder holds two files. ``lkg.safetensors`` is the state (weights, bounty, where it stands);
``lkg.json`` says in plain words how it came to be, with every meta-loop's record. A trial may
go on in another mode ("disrupting training traps", PSA paper, section V): each mode's
stretch is a segment.

They are written after the first meta-loop, every few seconds, and at any stop; `story` says in
which order, so that a kill between the two costs a few seconds of training and nothing else.
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
from antifragile._records import RecordError
from antifragile.config.modes import get_mode
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.checkpoint import load_checkpoint, save_checkpoint, trial_fingerprint
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.engine.trial import TrialState
from antifragile.errors import CheckpointError, UsageError
from antifragile.store.records import Environment
from antifragile.study.equations import plan_trial
from antifragile.study.folder import only_writer
from antifragile.study.options import RunOptions
from antifragile.study.single.story import Segment, Story, read_story, until_weights
from antifragile.study.trainers import Trainer

logger = logging.getLogger(__name__)

WEIGHTS_FILE = "lkg.safetensors"
STORY_FILE = "lkg.json"
_WRITE_EVERY_S = 5.0


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
        saved: Meta-loop of the weights in the folder, 0 for none.
    """

    spec: TrialSpec
    data: Dataset
    folder: Path
    environment: Environment
    trainer: Trainer
    segments: list[Segment] = field(default_factory=list)
    records: list[MetaLoopRecord] = field(default_factory=list)
    state: TrialState | None = None
    saved: int = 0

    def run(self) -> Iterator[MetaLoopRecord]:
        """Run the segment to its end, writing both files as the module says."""
        segment = self._current_segment()
        spec = replace(self.spec, meta_loops=segment.last)
        written_at = time.monotonic() if self.state else -math.inf
        try:
            for turn in self.trainer.turns([spec], self.data, [self.state]):
                (record,) = turn.records
                assert record is not None, "a single trial has a record of every turn"
                self.records.append(record)  # first: Ctrl-C may leave one too many, none too few
                (self.state,) = turn.states()
                yield record
                if time.monotonic() - written_at > _WRITE_EVERY_S:
                    self._save()
                    written_at = time.monotonic()
        except (KeyboardInterrupt, GeneratorExit):
            self._save()
            raise

    def finish(self) -> TrialResult:
        """Write the files a last time and test the LKG."""
        assert self.state is not None
        self._save()
        (result,) = self.trainer.finish([self.spec], self.data, [self.state])
        self._write_story(self.state, result)
        return result

    def _current_segment(self) -> Segment:
        done = self.state.meta_loop if self.state else 0
        if not self.segments or self.segments[-1].mode != self.spec.mode:
            self._check_initialisation()
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
            if last == done:
                logger.warning(
                    "the trial in %s already has its %d meta-loops in mode %r; a larger "
                    "--meta-loops goes on.",
                    self.folder,
                    self.spec.meta_loops,
                    self.spec.mode,
                )
            self.segments[-1] = replace(self.segments[-1], last=last)
        return self.segments[-1]

    def _check_initialisation(self) -> None:
        """Refuse a mode that decides fresh weights where there are trained ones."""
        law = get_mode(self.spec.mode).variation.initialisation
        if not self.segments or law is None:
            return
        first = self.segments[0].mode
        if law != get_mode(first).variation.initialisation:
            raise UsageError(
                f"the network in {self.folder} began in mode {first!r}, so that mode "
                f"{self.spec.mode!r} cannot decide its first weights; leave 'initialisation' out, "
                "or start in another folder with --out."
            )

    def _save(self) -> None:
        """Write the story, then the weights; see `story`."""
        if (state := self.state) is None:
            return
        digest = self._write_story(state, None)
        path, fingerprint = self.folder / WEIGHTS_FILE, _fingerprint(self.spec, self.data)
        save_checkpoint(path, state, fingerprint=fingerprint, notes={"story": digest})
        self.saved = state.meta_loop

    def _write_story(self, state: TrialState, result: TrialResult | None) -> str:
        """Write the story up to a state, with the result at the end.

        Returns:
            Its digest.
        """
        spec, validation = self.spec, 100 / self.data.validation.n_samples
        told = Story(
            meta_loop=state.meta_loop,
            segments=tuple(self.segments),
            records=tuple(self.records),
            fingerprint=_fingerprint(spec, self.data),
            weights_before=self.saved,
        ).until(state.meta_loop)
        story: dict[str, Any] = {
            "dataset": spec.dataset,
            "data_sha256": self.data.sha256,
            "architecture": spec.architecture.name,
            "parameters": spec.architecture.parameter_count(
                self.data.n_inputs, self.data.n_classes, spec.training.network
            ),
            "seed": spec.seed,
            "trial": spec.trial,
            "pairing": str(spec.pairing),
            "training": spec.training.to_mapping(),
            "environment": asdict(self.environment),
            "peak_meta_loop": state.best.meta_loop,
            "peak_validation_accuracy": state.best.bounty * validation,
            "test_accuracy": result and 100 * result.test_correct / self.data.test.n_samples,
        } | told.to_json()
        text = json.dumps(story, indent=1, allow_nan=False)
        write_atomically(self.folder / STORY_FILE, text.encode())
        digest: str = story["digest"]
        return digest


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
        CheckpointError: It is damaged, another trial's, or one of its two files is lost or of
            another moment.
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
            _check_nothing_is_lost(folder)
            logger.warning("nothing to resume in %s yet; the trial starts.", folder)
        yield trial


def _check_is_free(folder: Path) -> None:
    if (folder / WEIGHTS_FILE).exists() or (folder / STORY_FILE).exists():
        raise UsageError(
            f"{folder} already holds a trained network; add --resume to go on with it, or choose "
            "another folder with --out."
        )


def _check_nothing_is_lost(folder: Path) -> None:
    """Refuse a story whose weights are missing, unless a kill came before the first were there."""
    path, weights = folder / STORY_FILE, folder / WEIGHTS_FILE
    if path.exists() and (story := read_story(path)).weights_before != 0:
        raise CheckpointError(
            f"{path} tells of {story.meta_loop} meta-loops, but their weights are lost: {weights} "
            "is missing; put it back, or start anew in another folder with --out."
        )


def _go_on(trial: SingleTrial, *, device: str) -> None:
    """Read what the folder holds."""
    spec, data, fingerprint = trial.spec, trial.data, _fingerprint(trial.spec, trial.data)
    shape, network = spec.architecture, spec.training.network
    sizes = shape.layer_sizes(data.n_inputs, data.n_classes, network)
    path, weights = trial.folder / STORY_FILE, trial.folder / WEIGHTS_FILE
    state, notes = load_checkpoint(weights, fingerprint=fingerprint, layer_sizes=sizes)
    whole = read_story(path)
    try:
        story = until_weights(whole, state, fingerprint=fingerprint, digest=notes.get("story"))
    except RecordError as error:
        raise CheckpointError(
            f"{path} and {weights} do not belong together ({error}); restore the two as one "
            "command left them, or start anew in another folder with --out."
        ) from error
    trial.state, trial.saved = state.on(device), state.meta_loop
    trial.segments, trial.records = list(story.segments), list(story.records)


def _fingerprint(spec: TrialSpec, data: Dataset) -> str:
    """Identity of the trial, in whatever mode it goes on."""
    return trial_fingerprint(spec, data.sha256, any_mode=True)
