"""Persistent Stochastic Ablation around any model's own training loop.

    engine = FrustrationEngine(model, train_epoch, evaluate, mode="hidden", seed=0)
    for record in engine.run(meta_loops=20):
        print(record.meta_loop, record.score, record.promoted, record.ablated)
    model = engine.best()

Source: PSA paper, section II.D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from antifragile.config.modes import get_mode
from antifragile.engine.frustration.candidate import ModelCandidate, ModelStates
from antifragile.engine.frustration.functions import Evaluate, TrainEpoch
from antifragile.engine.frustration.records import FrustrationRecord, record_of
from antifragile.engine.frustration.saving import (
    pack_engine,
    read_engine,
    restore_engine,
    write_engine,
)
from antifragile.engine.frustration.training import ModelTraining, check_given
from antifragile.engine.loop import one_meta_loop
from antifragile.engine.policies import StateSlot
from antifragile.errors import UsageError
from antifragile.model.units.records import UnitTable


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
        inputs: Arguments of one call of the model, to find its units on, and to measure their
            activations in modes that rank by these; by default those of its first call are used.
        loss: Returns the loss of the model on a few training samples, always the same ones, as a
            scalar tensor; for modes that rank units by their gradients.
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
        loss: Callable[[nn.Module], Tensor] | None = None,
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
            optimizers=() if optimizer is None else (optimizer,),
            fresh=fresh,
            minimize=minimize,
            weight_decay=weight_decay,
            dropout=dropout,
            layers=layers,
            inputs=inputs,
            loss=loss,
        )
        for part in self.mode.parts:
            check_given(part, self._training)
        self._candidate = ModelCandidate(self._training, self.mode, seed)
        self._states: ModelStates | None = None

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
        return self._training.user_score(self._known().progress.best.score)

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
        counts = self._candidate.unit_counts()
        write_engine(Path(path), pack_engine(self._candidate, self.seed, progress, counts))

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
        inputs: object = None,
        loss: Callable[[nn.Module], Tensor] | None = None,
    ) -> FrustrationEngine:
        """Go on from a file by `save`, exactly as if the run had not stopped.

        Args:
            path: The file, which says the mode, the seed, whether less is better, ``layers``,
                ``weight_decay`` and ``dropout``.
            model: A model of the same kind; its weights are overwritten.
            train_epoch: As before.
            evaluate: As before.
            optimizer: As before, if there was one.
            fresh: As before.
            inputs: As before.
            loss: As before.

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
            layers=saved.position.layers,
            inputs=inputs,
            loss=loss,
            weight_decay=saved.position.weight_decay,
            dropout=saved.position.dropout,
        )
        progress = restore_engine(saved, engine._candidate)
        engine._states = ModelStates(progress)
        return engine

    def _turn(self, meta_loop: int) -> FrustrationRecord:
        promotion = self.mode.at(meta_loop).variation.promotion
        clock = self._candidate.clock
        before = clock.seconds
        outcome = one_meta_loop(self._candidate, self._states, meta_loop, promotion=promotion)
        self._states = outcome.kept
        own_seconds = outcome.seconds - (clock.seconds - before)
        return record_of(outcome, self._training, own_seconds)

    def _known(self) -> ModelStates:
        if self._states is None:
            raise UsageError("no meta-loop was run yet; iterate over engine.run(meta_loops=...).")
        return self._states
