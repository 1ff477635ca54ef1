"""The meta-loop as a trainer's callback drives it: begin before an epoch, judge after it.

    loop = EpochLoop(training, get_mode("hidden"), seed=0)
    every epoch:  loop.begin(); the trainer trains and validates; loop.judge(score)
    at the end:   loop.best()

Both callbacks call this; what an epoch and a score are is all that they know themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import nn

from antifragile.config.modes import Mode
from antifragile.config.seeds import SeedTree
from antifragile.engine.frustration.candidate import ModelCandidate, ModelStates
from antifragile.engine.frustration.functions import checked_score
from antifragile.engine.frustration.generators import generator_states, restore_generators
from antifragile.engine.frustration.hits import ablation_of
from antifragile.engine.frustration.records import FrustrationRecord, SavedEpochs, record_of
from antifragile.engine.frustration.saving import (
    PackedEngine,
    SavedEngine,
    pack_engine,
    restore_kept_states,
)
from antifragile.engine.frustration.training import ModelTraining, check_given
from antifragile.engine.loop import BegunMetaLoop, begin_meta_loop, end_meta_loop
from antifragile.engine.policies import StateSlot
from antifragile.errors import CheckpointError, UsageError
from antifragile.integrations.first_call import FirstCall
from antifragile.integrations.processes import one_score
from antifragile.model.units.watching.prepare import Inputs


class EpochLoop:
    """The meta-loops of a model that a trainer trains.

    Args:
        training: The model with the trainer's optimizers.
        mode: The mode, or schedule of modes.
        seed: Seed of the choice of units, and of fresh networks.
        network: Name of the part of the model whose units are hit; None to find out by its calls.
        parts: Whether the first call may be that of a part of the model.

    Raises:
        UsageError: The mode asks for what was not given.
    """

    def __init__(
        self,
        training: ModelTraining,
        mode: Mode,
        seed: int,
        *,
        network: str | None = None,
        parts: bool = False,
    ) -> None:
        if training.fresh is not None:
            training = replace(training, fresh=self._seeded(training.fresh))
        for part in mode.parts:
            check_given(part, training)
        self._training, self._mode, self._seed = training, mode, seed
        self._candidate = ModelCandidate(training, mode, seed)
        self._call = FirstCall(training.model, network=network, parts=parts)
        if training.inputs is not None:
            self._call.close()
            if network is not None:
                self._candidate.use_call(network, Inputs.of(training.inputs))
        self._states: ModelStates | None = None
        self._begun: BegunMetaLoop[str] | None = None
        self._own_seconds = 0.0
        self._hooks = ExitStack()
        self.records: list[FrustrationRecord] = []

    @property
    def is_open(self) -> bool:
        """Whether a meta-loop has begun and was not judged."""
        return self._begun is not None

    @property
    def meta_loop(self) -> int:
        """Meta-loops that were judged."""
        return 0 if self._states is None else self._states.progress.meta_loop

    @property
    def has_best(self) -> bool:
        """Whether a state is kept."""
        return self._states is not None

    def begin(self) -> None:
        """Load the LKG, ablate, and reset the optimizers' memory, as the mode says.

        Raises:
            UsageError: The model has no units of the mode's kind, or was never called.
        """
        started = time.perf_counter()
        meta_loop = self.meta_loop + 1
        begun = begin_meta_loop(
            self._candidate,
            self._states,
            meta_loop,
            promotion=self._mode.at(meta_loop).variation.promotion,
        )
        names = tuple(unit.name for unit in begun.targets)
        self._begun = BegunMetaLoop(meta_loop=meta_loop, targets=names, started=begun.started)
        self._candidate.reset_memory(meta_loop)
        self.regularise()
        self._own_seconds = time.perf_counter() - started

    def regularise(self) -> None:
        """Apply decay or dropout until the candidate is judged, where the mode does."""
        assert self._begun is not None, "a meta-loop has begun"
        meta_loop = self._begun.meta_loop
        if self._mode.at(meta_loop).uses_dropout:
            self._use_call()
            if not self._candidate.knows_inputs:  # the first batch shows how the model is called
                self._call.then(self.regularise)
                return
        self._hooks.enter_context(self._candidate.regularised(meta_loop))

    def judge(self, score: object, name: str) -> FrustrationRecord:
        """Keep or discard the candidate by its score on the validation data.

        Args:
            score: As the trainer reports it.
            name: Its name there, for messages.

        Raises:
            UsageError: It is no finite number, or differs between processes.
        """
        assert self._begun is not None, "a meta-loop has begun"
        started = time.perf_counter()
        meta_loop = self._begun.meta_loop
        value = checked_score(one_score(score, name), f"metric {name!r} is")
        self._hooks.close()
        outcome = end_meta_loop(
            self._candidate,
            self._states,
            self._begun,
            -value if self._training.minimize else value,
            promotion=self._mode.at(meta_loop).variation.promotion,
        )
        self._states, self._begun = outcome.kept, None
        self._use_call()
        own_seconds = self._own_seconds + time.perf_counter() - started
        self.records.append(record_of(outcome, self._training, own_seconds))
        return self.records[-1]

    def best(self) -> nn.Module:
        """Load the holder of the bounty into the model and return the model.

        Raises:
            UsageError: No meta-loop was judged.
        """
        if self._states is None:
            raise UsageError("no epoch was judged yet; train the model first.")
        is_lkg = StateSlot.BEST not in self._candidate.slots.filled
        self._candidate.slots.load(StateSlot.LKG if is_lkg else StateSlot.BEST)
        return self._training.model

    def close(self) -> None:
        """Take all hooks off the model."""
        self._hooks.close()
        self._call.close()

    def pack(self) -> PackedEngine:
        """Collect everything that the next meta-loops depend on, but what the trainer saves."""
        epochs = SavedEpochs(
            open_meta_loop=self._begun.meta_loop if self._begun else 0,
            ablated=self._begun.targets if self._begun else (),
            records=tuple(self.records),
        )
        progress = None if self._states is None else self._states.progress
        counts = self._candidate.known_unit_counts()
        return pack_engine(self._candidate, self._seed, progress, counts, epochs)

    def restore(self, saved: SavedEngine) -> None:
        """Go on from what `pack` collected; the model's weights are left to the trainer.

        Raises:
            CheckpointError: It is of another model, mode or seed.
        """
        self._check_same_run(saved)
        assert saved.epochs is not None, "checked"
        progress = restore_kept_states(saved, self._candidate)
        self._states = None if progress is None else ModelStates(progress)
        if self._candidate.knows_inputs:
            self._call.close()
        self.records[:] = saved.epochs.records
        if saved.epochs.open_meta_loop:
            self._begun = BegunMetaLoop(
                meta_loop=saved.epochs.open_meta_loop,
                targets=saved.epochs.ablated,
                started=time.perf_counter(),
            )
            self.regularise()

    def _check_same_run(self, saved: SavedEngine) -> None:
        position = saved.position
        if saved.epochs is None:
            raise CheckpointError(
                f"{saved.source} was saved by FrustrationEngine, not by a trainer's callback; "
                "resume it with FrustrationEngine.resume."
            )
        for name, then, now in (
            ("mode", position.mode, self._mode.name),
            ("seed", position.seed, self._seed),
            ("minimize", position.minimize, self._training.minimize),
            ("layers", position.layers, self._training.layers),
            ("weight_decay", position.weight_decay, self._training.weight_decay),
            ("dropout", position.dropout, self._training.dropout),
        ):
            if then != now:
                raise CheckpointError(
                    f"{saved.source} was saved with {name}={then!r}, and the callback has "
                    f"{name}={now!r}; give it the same to resume."
                )

    def _use_call(self) -> None:
        """Take the first call that was seen, if the candidate does not know one yet."""
        if self._candidate.knows_inputs or not self._needs_units():
            return
        if found := self._call.found():
            self._candidate.use_call(*found)

    def _needs_units(self) -> bool:
        return any(ablation_of(part) is not None or part.uses_dropout for part in self._mode.parts)

    def _seeded(self, fresh: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        """Let fresh networks depend on seed and meta-loop alone, so that all processes agree."""

        def build() -> nn.Module:
            before = generator_states()
            stream = SeedTree(self._seed).child("frustration", "fresh", self.meta_loop + 1)
            torch.manual_seed(stream.key64)
            try:
                return fresh()
            finally:
                restore_generators(*before)

        return build
