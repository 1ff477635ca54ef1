"""Persistent Stochastic Ablation around any model's own training loop.

    engine = FrustrationEngine(model, train_epoch, evaluate, mode="hidden", seed=0)
    for record in engine.run(meta_loops=20):
        print(record.meta_loop, record.score, record.promoted, record.ablated)
    model = engine.best()

Source: PSA paper, section II.D.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from antifragile.config.modes import Mode, get_mode
from antifragile.config.modifiers.records import DamageKind, OptimizerMemory, PromotionRule
from antifragile.engine.frustration.candidate import ModelCandidate, ModelStates, ModelTraining
from antifragile.engine.frustration.functions import Evaluate, TrainEpoch
from antifragile.engine.frustration.hits import ablation_of, check_choice_of
from antifragile.engine.frustration.saving import read_engine, restore_engine, write_engine
from antifragile.engine.loop import MetaLoopOutcome, one_meta_loop
from antifragile.engine.policies import StateSlot
from antifragile.errors import UsageError
from antifragile.model.units.records import Unit, UnitGroup, UnitTable


@dataclass(frozen=True, kw_only=True)
class FrustrationRecord:
    """One meta-loop of a user's model.

    Args:
        meta_loop: 1-based.
        score: Result of ``evaluate`` after the epoch.
        bounty: Best score so far.
        promoted: Whether the candidate became the LKG.
        ablated: Names of the units that were hit before the epoch, such as ``blocks.0.fc1[7]``.
        train_loss: Result of ``train_epoch``; None if it returns no number.
        seconds: Wall time of the meta-loop.
        own_seconds: The part of it that the engine took for itself, without the two functions.
    """

    meta_loop: int
    score: float
    bounty: float
    promoted: bool
    ablated: tuple[str, ...]
    train_loss: float | None
    seconds: float
    own_seconds: float


class FrustrationEngine:
    """The meta-loop of Persistent Stochastic Ablation for any torch model.

    Each meta-loop loads the last known good state (LKG) into the model, zeroes a unit where the
    mode says so, trains for one epoch, and keeps the result only if it beats the best so far.

    Args:
        model: Any torch module, on its device; trained in place. ``torch.compile``d and
            ``DistributedDataParallel`` modules are looked through.
        train_epoch: Trains the model for one epoch: ``train_epoch(model)`` makes its own optimizer
            (reset in every meta-loop, as in the paper), or ``train_epoch(model, optimizer)`` if
            ``optimizer`` is given. It may return the mean loss.
        evaluate: Measures the model on validation data, ``evaluate(model) -> float``; more is
            better, and the same model gives the same number.
        mode: Mode with its modifiers, such as ``hidden``, ``output``, ``none+restart=10`` or
            ``hidden+patience=3``; ``antifragile info`` lists them.
        seed: Seed of the choice of units.
        minimize: Whether less is better, as of a loss.
        optimizer: An optimizer that lives on. Its memory is cleared before each epoch unless the
            mode says ``persistent``; learning rates and schedules go on.
        fresh: Returns a new model, for the modifiers ``restart`` and ``reinit``.
        layers: Names of layers whose units may be hit (`units` lists them); None for all.
        inputs: Arguments of one call of the model, to find its units on; by default those of its
            first call are used.
        weight_decay: Decoupled weight decay in mode ``decay``.
        dropout: Drop probability in mode ``dropout``, of what the readers of hidden units read.

    Raises:
        UsageError: The mode is unknown, or asks for what was not given.

    Note:
        The model is left in the training or evaluation mode that the two functions set.

    Source: PSA paper, section II.D.
    """

    def __init__(
        self,
        model: nn.Module,
        train_epoch: TrainEpoch,
        evaluate: Evaluate,
        *,
        mode: str = "hidden",
        seed: int = 0,
        minimize: bool = False,
        optimizer: torch.optim.Optimizer | None = None,
        fresh: Callable[[], nn.Module] | None = None,
        layers: Sequence[str] | None = None,
        inputs: object = None,
        weight_decay: float = 0.01,
        dropout: float = 0.1,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise UsageError(f"the model is a {type(model).__name__}, expected a torch.nn.Module.")
        self.mode, self.seed = get_mode(mode), seed
        self._training = ModelTraining(
            model=model,
            train_epoch=train_epoch,
            evaluate=evaluate,
            optimizer=optimizer,
            fresh=fresh,
            minimize=minimize,
            weight_decay=weight_decay,
            dropout=dropout,
            layers=layers,
            inputs=inputs,
        )
        for part in self.mode.parts:
            _check(part, self._training)
        self._candidate = ModelCandidate(self._training, self.mode, seed)
        self._states: ModelStates | None = None
        self._expected_units: dict[str, int] | None = None

    @property
    def meta_loop(self) -> int:
        """Meta-loops so far."""
        return 0 if self._states is None else self._states.progress.meta_loop

    @property
    def bounty(self) -> float:
        """Best score so far.

        Raises:
            UsageError: No meta-loop was run.
        """
        return self._user_score(self._known().progress.best.score)

    @property
    def units(self) -> UnitTable:
        """The model's units, and the layers that have none, with the reason."""
        return self._candidate.units

    def run(self, meta_loops: int) -> Iterator[FrustrationRecord]:
        """Run meta-loops, one at a time, and yield a record of each.

        An error in a function, or Ctrl-C, leaves the kept states as they are: `best` returns the
        bounty's holder, and `run` repeats the meta-loop.

        Args:
            meta_loops: The last meta-loop to run, counting those that were run before.

        Raises:
            UsageError: A function returned something that cannot be used, or the model has no
                units of the mode's kind.
        """
        while self.meta_loop < meta_loops:
            yield self._turn(self.meta_loop + 1)

    def best(self) -> nn.Module:
        """Load the holder of the bounty into the model and return the model.

        Raises:
            UsageError: No meta-loop was run.
        """
        self._known()
        is_lkg = StateSlot.BEST not in self._candidate.slots.filled
        self._candidate.slots.load(StateSlot.LKG if is_lkg else StateSlot.BEST)
        return self._training.model

    def save(self, path: str | Path) -> None:
        """Write everything that the next meta-loops depend on to one safetensors file.

        The file holds the kept states, the optimizer's memory, counts, and the states of the
        random generators of torch, NumPy and Python; it is replaced in one step.

        Args:
            path: The file.

        Raises:
            UsageError: No meta-loop was run.
            WorldError: It cannot be written.
        """
        progress = self._known().progress
        counts = {group.layer: len(group.units) for group in self._groups_in_use()}
        write_engine(Path(path), self._candidate, self.mode, self.seed, progress, counts)

    @classmethod
    def resume(
        cls,
        path: str | Path,
        model: nn.Module,
        train_epoch: TrainEpoch,
        evaluate: Evaluate,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        fresh: Callable[[], nn.Module] | None = None,
        layers: Sequence[str] | None = None,
        inputs: object = None,
        weight_decay: float = 0.01,
        dropout: float = 0.1,
    ) -> FrustrationEngine:
        """Go on from a file by `save`, exactly as if the run had not stopped.

        Args:
            path: The file, which says the mode, the seed and whether less is better.
            model: A model of the same kind; its weights are overwritten.
            train_epoch: As before.
            evaluate: As before.
            optimizer: As before, if there was one.
            fresh: As before.
            layers: As before.
            inputs: As before.
            weight_decay: As before.
            dropout: As before.

        Raises:
            CheckpointError: The file is missing, damaged, or of another model or optimizer.
        """
        saved = read_engine(Path(path))
        engine = cls(
            model,
            train_epoch,
            evaluate,
            mode=saved.position.mode,
            seed=saved.position.seed,
            minimize=saved.position.minimize,
            optimizer=optimizer,
            fresh=fresh,
            layers=layers,
            inputs=inputs,
            weight_decay=weight_decay,
            dropout=dropout,
        )
        progress = restore_engine(saved, engine._candidate)
        engine._states = ModelStates(progress)
        engine._expected_units = dict(saved.position.units) or None
        return engine

    def _turn(self, meta_loop: int) -> FrustrationRecord:
        if meta_loop > 1:
            self._check_expected_units()
        promotion = self.mode.at(meta_loop).variation.promotion
        clock = self._candidate.clock
        before = clock.seconds
        outcome = one_meta_loop(self._candidate, self._states, meta_loop, promotion=promotion)
        self._states = outcome.kept
        return self._record(outcome, outcome.seconds - (clock.seconds - before))

    def _check_expected_units(self) -> None:
        """Refuse a model that lacks units which the saved one had."""
        if self._expected_units is None:
            return
        found = {group.layer: len(group.units) for group in self._groups_in_use()}
        for layer, number in self._expected_units.items():
            if found.get(layer, 0) < number:
                raise UsageError(
                    f"unit {layer}[{number - 1}] was there when the run was saved and is gone; "
                    f"{layer!r} has {found.get(layer, 0)} units now. Give the model of the saved "
                    "run."
                )
        self._expected_units = None

    def _groups_in_use(self) -> Sequence[UnitGroup]:
        modes = [mode for mode in self.mode.parts if ablation_of(mode) is not None]
        return [group for mode in modes for group in self._candidate.pool(mode).hidden]

    def _record(
        self, outcome: MetaLoopOutcome[Unit, float, ModelStates], own_seconds: float
    ) -> FrustrationRecord:
        return FrustrationRecord(
            meta_loop=outcome.meta_loop,
            score=self._user_score(outcome.score),
            bounty=self._user_score(outcome.kept.progress.best.score),
            promoted=outcome.is_promoted,
            ablated=tuple(unit.name for unit in outcome.targets),
            train_loss=None if math.isnan(outcome.train_loss) else outcome.train_loss,
            seconds=outcome.seconds,
            own_seconds=own_seconds,
        )

    def _known(self) -> ModelStates:
        if self._states is None:
            raise UsageError("no meta-loop was run yet; iterate over engine.run(meta_loops=...).")
        return self._states

    def _user_score(self, score: float) -> float:
        return -score if self._training.minimize else score


def _check(mode: Mode, training: ModelTraining) -> None:
    """Refuse a mode that asks for what was not given.

    Raises:
        UsageError: It does.
    """
    variation = mode.variation
    if mode.perturbation is not None:
        raise UsageError(
            f"mode {mode.name!r} perturbs the update equation; use mode 'none', and "
            "antifragile.perturb on the optimizer in train_epoch."
        )
    if variation.optimizer is not OptimizerMemory.RESET and training.optimizer is None:
        raise UsageError(
            f"mode {mode.name!r} keeps the optimizer's memory; give optimizer=..., and take it as "
            "the second argument of train_epoch."
        )
    needs_fresh = variation.promotion.rule is PromotionRule.RESTART
    if (needs_fresh or variation.damage is DamageKind.REINIT) and training.fresh is None:
        raise UsageError(
            f"mode {mode.name!r} needs fresh networks; give fresh=, a function that returns a new "
            "model of the same kind."
        )
    check_choice_of(mode)
