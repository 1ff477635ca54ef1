"""A user's model as the candidate of the meta-loop."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from antifragile.config.modes import Mode
from antifragile.config.modifiers.grammar import needs_data
from antifragile.config.modifiers.records import OptimizerMemory, Promotion
from antifragile.config.seeds import SeedTree
from antifragile.engine.frustration.functions import (
    SameModel,
    UserClock,
    captured_inputs,
    checked_loss,
    checked_score,
)
from antifragile.engine.frustration.generators import generator_states, restore_generators
from antifragile.engine.frustration.hits import UnitPool, ablation_of
from antifragile.engine.frustration.regularisers import decaying, dropping
from antifragile.engine.frustration.slots import StateSlots, tensors_of
from antifragile.engine.frustration.training import ModelTraining
from antifragile.engine.policies import Progress, StateSlot, decide, filled_slots
from antifragile.errors import UsageError
from antifragile.model.damage import Masks, damage_entries
from antifragile.model.networks import Weights
from antifragile.model.units.find import VERIFIED_SAMPLES, find_units
from antifragile.model.units.records import Unit, UnitTable, masks
from antifragile.model.units.values import activations, gradients, magnitudes
from antifragile.model.units.watching.prepare import Inputs, few_samples, unwrap

_RANKED_SAMPLES = 64  # of a call that was seen in a trainer, and travels in its checkpoints


@dataclass(frozen=True)
class ModelStates:
    """Scores and counts of the states that are kept; their tensors are in the candidate's slots."""

    progress: Progress[float]


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
        self._network: nn.Module = self._inner
        self._names = {id(module): name for name, module in self._inner.named_modules()}
        self.slots = StateSlots(self._inner)
        self._stream = SeedTree(seed).child("frustration", mode.base, "ablation")
        self._same = SameModel(training.model)
        self._inputs: list[Inputs] = []
        if training.inputs is not None:
            self._inputs.append(Inputs.of(training.inputs))
        self._table: UnitTable | None = None
        self.expected_units: dict[str, int] = {}
        self.clock = UserClock()
        self._pools: dict[str, UnitPool] = {}

    def initialise(self, meta_loop: int) -> None:
        """Leave the model as it was given, or load a fresh one where the mode starts afresh."""
        if meta_loop == 1:
            return
        with torch.no_grad():
            own = self.slots.tensors(StateSlot.CANDIDATE)
            for name, value in self._fresh_tensors().items():
                own[name].copy_(value)
        self.training.clear_memory()

    def load(self, kept: ModelStates) -> None:
        """Load a clone of the LKG.

        Raises:
            UsageError: The model lacks units which that of the saved run had.
        """
        self._check_expected_units()
        self.slots.load(StateSlot.LKG)

    @torch.no_grad()
    def damage(self, meta_loop: int, *, rate: int) -> Sequence[Unit]:
        """Damage the model where its mode does, and return the units that are hit."""
        mode = self.mode.at(meta_loop)
        if ablation_of(mode) is None:
            return ()
        parameters, rng = dict(self._network.named_parameters()), self._stream.generator(meta_loop)
        units = self.pool(mode).choose(mode, self._values(mode), rng=rng, rate=rate)
        damaged = self._damaged(mode, parameters, units, rng)
        if mode.variation.optimizer is OptimizerMemory.ZEROED:
            self.training.forget(damaged, parameters)
        return units

    def train_epoch(self, meta_loop: int) -> float:
        """Train for one epoch by the user's function; return its loss, or NaN if it gives none."""
        training = self.training
        assert training.train_epoch is not None, "a trainer's epochs are its own"
        self.reset_memory(meta_loop)
        with self.regularised(meta_loop), self.clock.running():
            returned = training.train_epoch(training.model, *training.optimizers)
        loss = checked_loss(returned)
        self._same.check("train_epoch")
        return float("nan") if loss is None else loss

    def score(self) -> float:
        """Measure the model by the user's function; more is better."""
        training = self.training
        assert training.evaluate is not None, "a trainer's validation is its own"
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

    def reset_memory(self, meta_loop: int) -> None:
        """Clear the optimizers' memory, where the mode does."""
        if self.mode.at(meta_loop).variation.optimizer is OptimizerMemory.RESET:
            self.training.clear_memory()

    def regularised(self, meta_loop: int) -> AbstractContextManager[None]:
        """Apply decay or dropout inside, where the mode does."""
        mode = self.mode.at(meta_loop)
        if mode.uses_decay:
            return decaying(self.training.model, self.training.weight_decay)
        if mode.uses_dropout:
            groups = UnitPool.of(self.units, mode, self.training.layers).hidden
            return dropping(self.training.model, self._network, groups, self.training.dropout)
        return nullcontext()

    @property
    def knows_inputs(self) -> bool:
        """Whether arguments of a call of the model are known."""
        return bool(self._inputs)

    def use_call(self, network: str, inputs: Inputs) -> None:
        """Take the arguments of a call that was seen elsewhere.

        Args:
            network: Name of the part of the model that was called, whose units are those to be
                hit; empty for the model itself.
            inputs: The arguments; a few samples of them are kept.
        """
        self._network = unwrap(self._inner.get_submodule(network))
        most = _RANKED_SAMPLES if any(map(_looks_at_data, self.mode.parts)) else VERIFIED_SAMPLES
        self._inputs = [few_samples(self._network, inputs, most)]

    @property
    def call(self) -> tuple[str, Inputs] | None:
        """The known call, with the name of the part that is called; None if none is known."""
        return (self._names[id(self._network)], self._inputs[0]) if self._inputs else None

    @property
    def units(self) -> UnitTable:
        """The model's units; found when first needed, on the inputs of its first call.

        Raises:
            UsageError: No call of the model was seen, and no inputs were given.
        """
        if self._table is None:
            if not self._inputs:
                self._see_inputs()
            self._table = find_units(self._network, self._inputs[0])
        return self._table

    def pool(self, mode: Mode) -> UnitPool:
        """Return the units that a mode may hit."""
        if mode.base not in self._pools:
            self._pools[mode.base] = UnitPool.of(self.units, mode, self.training.layers)
        return self._pools[mode.base]

    def unit_counts(self) -> dict[str, int]:
        """Count the units of every layer that the mode's ablations hit."""
        modes = [mode for mode in self.mode.parts if ablation_of(mode) is not None]
        groups = [group for mode in modes for group in self.pool(mode).hidden]
        return {group.layer: len(group.units) for group in groups}

    def known_unit_counts(self) -> dict[str, int]:
        """Count the units as far as they were found, without looking for them."""
        return self.unit_counts() if self._table is not None else dict(self.expected_units)

    def _check_expected_units(self) -> None:
        if not self.expected_units:
            return
        found = self.unit_counts()
        for layer, number in self.expected_units.items():
            if found.get(layer, 0) < number:
                raise UsageError(
                    f"unit {layer}[{number - 1}] was there when the run was saved and is gone; "
                    f"{layer!r} has {found.get(layer, 0)} units now. Give the model of the saved "
                    "run."
                )
        self.expected_units = {}

    def _see_inputs(self) -> None:
        """Evaluate the model once, only to see how it is called."""
        if self.training.evaluate is None:
            raise UsageError(
                "the trainer never called the model itself, so its units cannot be found; give the "
                "arguments of a call as inputs=."
            )
        before = generator_states()
        self.score()
        restore_generators(*before)
        if not self._inputs:
            raise UsageError(
                "evaluate never called the model itself, so its units cannot be found; call "
                "model(...) there, or give the arguments of a call as inputs=."
            )

    def _values(self, mode: Mode) -> list[np.ndarray] | None:
        """Values by which a mode ranks the units of every layer; None where it draws blindly."""
        rank, layers = mode.variation.targets.rank, self.pool(mode).layers
        if rank is None:
            return None
        parameters = dict(self._network.named_parameters())
        if not needs_data(rank):
            return magnitudes(layers, parameters)
        if rank.endswith("gradient"):
            assert self.training.loss is not None, "checked when the run was made"
            return gradients(layers, parameters, self.training.model, self.training.loss)
        return activations(layers, self._network, self._inputs[0])

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
        if frozen := [name for name in hit if not parameters[name].requires_grad]:
            raise UsageError(
                f"{frozen[0]} was frozen after the units were found, and the mode would damage it; "
                "freeze before the run, or keep to other layers by layers=."
            )
        kind = mode.variation.damage
        return damage_entries(parameters, hit, incoming, kind, rng=rng, fresh=self._fresh_network)

    def _fresh_network(self) -> Weights:
        """Build a new model and return the tensors of the part whose units are hit."""
        name = self._names[id(self._network)]
        prefix = f"{name}." if name else ""
        fresh = self._fresh_tensors()
        return {
            name.removeprefix(prefix): value
            for name, value in fresh.items()
            if name.startswith(prefix)
        }

    def _fresh_tensors(self) -> Weights:
        """Build a new model and return its parameters and buffers by name."""
        if self.training.fresh is None:
            raise UsageError(
                f"mode {self.mode.name!r} needs fresh networks; give fresh=, a function that "
                "returns a new model of the same kind."
            )
        made = self.training.fresh()
        if not isinstance(made, nn.Module) or unwrap(made) is self._inner:
            returned = "the model itself" if isinstance(made, nn.Module) else f"{made!r:.60}"
            raise UsageError(f"fresh() returned {returned}, expected a new model each time.")
        built = tensors_of(unwrap(made))
        mine = self.slots.tensors(StateSlot.CANDIDATE)
        for name, value in mine.items():
            if name not in built or built[name].shape != value.shape:
                raise UsageError(f"fresh() returned a model without {name!r}, or of another shape.")
        return {name: built[name] for name in mine}


def _looks_at_data(mode: Mode) -> bool:
    return needs_data(mode.variation.targets.rank)
