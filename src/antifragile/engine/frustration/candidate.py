"""A user's model as the candidate of the meta-loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from antifragile.config.modes import Mode
from antifragile.config.modifiers.records import OptimizerMemory, Promotion
from antifragile.config.seeds import SeedTree
from antifragile.engine.frustration.functions import (
    Evaluate,
    SameModel,
    TrainEpoch,
    UserClock,
    captured_inputs,
    checked_loss,
    checked_score,
)
from antifragile.engine.frustration.generators import generator_states, restore_generators
from antifragile.engine.frustration.hits import UnitPool, ablation_of
from antifragile.engine.frustration.regularisers import decaying, dropping
from antifragile.engine.frustration.slots import StateSlots, tensors_of
from antifragile.engine.policies import Progress, StateSlot, decide, filled_slots
from antifragile.errors import UsageError
from antifragile.model.damage import Masks, damage_entries
from antifragile.model.networks import Weights
from antifragile.model.units.find import find_units
from antifragile.model.units.records import Unit, UnitTable, masks
from antifragile.model.units.watching.prepare import Inputs, unwrap


@dataclass(frozen=True)
class ModelStates:
    """Scores and counts of the states that are kept; their tensors are in the candidate's slots."""

    progress: Progress[float]


@dataclass(frozen=True, kw_only=True)
class ModelTraining:
    """A user's model with the functions that train and measure it.

    Args:
        model: The model, as it is called.
        train_epoch: Trains it for one epoch.
        evaluate: Measures it.
        optimizer: The optimizer that ``train_epoch`` is handed; None where it makes its own.
        fresh: Builds a new model, for modes that restart or draw anew; None for none.
        minimize: Whether less is better.
        weight_decay: Decoupled weight decay in mode ``decay``.
        dropout: Drop probability in mode ``dropout``.
        layers: Names of the layers whose hidden units may be hit; None for all.
        inputs: Arguments of a call of the model; None to take those of its first call.
    """

    model: nn.Module
    train_epoch: TrainEpoch
    evaluate: Evaluate
    optimizer: torch.optim.Optimizer | None = None
    fresh: Callable[[], nn.Module] | None = None
    minimize: bool = False
    weight_decay: float = 0.01
    dropout: float = 0.1
    layers: Sequence[str] | None = None
    inputs: object = None


class ModelCandidate:
    """The model that the meta-loops damage and train.

    Args:
        training: The model and its functions.
        mode: The mode, or schedule of modes.
        seed: Seed of the ablations.
    """

    def __init__(self, training: ModelTraining, mode: Mode, seed: int) -> None:
        self.training, self.mode = training, mode
        self._inner = unwrap(training.model)
        self.slots = StateSlots(self._inner)
        self._stream = SeedTree(seed).child("frustration", mode.base, "ablation")
        self._same = SameModel(training.model)
        self._inputs: list[Inputs] = []
        if training.inputs is not None:
            self._inputs.append(Inputs.of(training.inputs))
        self._table: UnitTable | None = None
        self.clock = UserClock()
        self._pools: dict[str, UnitPool] = {}

    def initialise(self, meta_loop: int) -> None:
        """Leave the model as it was given, or load a fresh one where the mode starts afresh."""
        if meta_loop == 1:
            return
        with torch.no_grad():
            for name, value in self._fresh_tensors().items():
                self.slots.tensors(StateSlot.CANDIDATE)[name].copy_(value)
        if self.training.optimizer is not None:
            self.training.optimizer.state.clear()

    def load(self, kept: ModelStates) -> None:
        """Load a clone of the LKG."""
        self.slots.load(StateSlot.LKG)

    @torch.no_grad()
    def damage(self, meta_loop: int, *, rate: int) -> Sequence[Unit]:
        """Damage the model where its mode does, and return the units that are hit."""
        mode = self.mode.at(meta_loop)
        if ablation_of(mode) is None:
            return ()
        parameters, rng = dict(self._inner.named_parameters()), self._stream.generator(meta_loop)
        units = self.pool(mode).choose(mode, parameters, rng=rng, rate=rate)
        damaged = self._damaged(mode, parameters, units, rng)
        if mode.variation.optimizer is OptimizerMemory.ZEROED:
            self._forget(parameters, damaged)
        return units

    def train_epoch(self, meta_loop: int) -> float:
        """Train for one epoch by the user's function; return its loss, or NaN if it gives none."""
        mode, training = self.mode.at(meta_loop), self.training
        arguments: list[object] = [training.model]
        if training.optimizer is not None:
            if mode.variation.optimizer is OptimizerMemory.RESET:
                training.optimizer.state.clear()
            arguments.append(training.optimizer)
        with self._regularised(mode), self.clock.running():
            returned = training.train_epoch(*arguments)
        loss = checked_loss(returned)
        self._same.check("train_epoch")
        return float("nan") if loss is None else loss

    def score(self) -> float:
        """Measure the model by the user's function; more is better."""
        training = self.training
        with captured_inputs(training.model, self._inputs), self.clock.running():
            returned = training.evaluate(training.model)
        value = checked_score(returned)
        self._same.check("evaluate")
        return -value if training.minimize else value

    def keep(self, promotion: Promotion, kept: ModelStates | None, score: float) -> ModelStates:
        """Judge the model, and copy states in place as the rule says."""
        before = None if kept is None else kept.progress
        meta_loop = 1 if before is None else before.meta_loop + 1
        mode = self.mode.at(meta_loop)
        most = self.pool(mode).most_rate(mode) if mode.variation.targets.adaptive else 1
        decision = decide(promotion, before, score, most_rate=most)
        self.slots.copy(decision.copies, filled_slots(decision.progress))
        return ModelStates(decision.progress)

    @property
    def units(self) -> UnitTable:
        """The model's units; found when first needed, on the inputs of its first call.

        Raises:
            UsageError: No call of the model was seen, and no inputs were given.
        """
        if self._table is None:
            if not self._inputs:
                self._see_inputs()
            self._table = find_units(self.training.model, self._inputs[0])
        return self._table

    def pool(self, mode: Mode) -> UnitPool:
        """Return the units that a mode may hit."""
        if mode.base not in self._pools:
            self._pools[mode.base] = UnitPool.of(self.units, mode, self.training.layers)
        return self._pools[mode.base]

    def _see_inputs(self) -> None:
        """Evaluate the model once, only to see how it is called."""
        before = generator_states()
        self.score()
        restore_generators(*before)
        if not self._inputs:
            raise UsageError(
                "evaluate never called the model itself, so its units cannot be found; call "
                "model(...) there, or give the arguments of a call as inputs=."
            )

    def _regularised(self, mode: Mode) -> AbstractContextManager[None]:
        if mode.uses_decay:
            return decaying(self.training.model, self.training.weight_decay)
        if mode.uses_dropout:
            groups = UnitPool.of(self.units, mode, self.training.layers).hidden
            return dropping(self._inner, groups, self.training.dropout)
        return nullcontext()

    def _damaged(
        self,
        mode: Mode,
        parameters: dict[str, nn.Parameter],
        units: Sequence[Unit],
        rng: np.random.Generator,
    ) -> Masks:
        ablation = ablation_of(mode)
        assert ablation is not None, "a mode that ablates"
        incoming = masks(parameters, [part for unit in units for part in unit.incoming])
        hit = incoming
        if ablation.zeroes_outgoing:
            parts = [part for unit in units for part in (*unit.incoming, *unit.outgoing)]
            hit = masks(parameters, parts)
        kind = mode.variation.damage
        return damage_entries(parameters, hit, incoming, kind, rng=rng, fresh=self._fresh_tensors)

    def _fresh_tensors(self) -> Weights:
        """Build a new model and return its parameters and buffers by name."""
        if self.training.fresh is None:
            raise UsageError(
                f"mode {self.mode.name!r} needs fresh networks; give fresh=, a function that "
                "returns a new model of the same kind."
            )
        built = tensors_of(unwrap(self.training.fresh()))
        mine = self.slots.tensors(StateSlot.CANDIDATE)
        for name, value in mine.items():
            if name not in built or built[name].shape != value.shape:
                raise UsageError(f"fresh() returned a model without {name!r}, or of another shape.")
        return {name: built[name] for name in mine}

    def _forget(self, parameters: dict[str, nn.Parameter], damaged: Masks) -> None:
        """Zero the optimizer's memory of damaged entries."""
        assert self.training.optimizer is not None, "checked at the start"
        for name, mask in damaged.items():
            for value in self.training.optimizer.state.get(parameters[name], {}).values():
                if isinstance(value, Tensor) and value.shape == mask.shape:
                    value[mask] = 0
