"""The options and the loop that the callbacks which run the meta-loop in a trainer share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from antifragile.config.modes import get_mode
from antifragile.engine.frustration.records import FrustrationRecord
from antifragile.engine.frustration.saving import SavedEngine
from antifragile.engine.frustration.training import ModelTraining
from antifragile.errors import UsageError
from antifragile.integrations.epochs import EpochLoop
from antifragile.integrations.joined import JoinedCallback


class FrustrationCallback(JoinedCallback):
    """Options and loop of a callback that runs Persistent Stochastic Ablation in a trainer.

    Args:
        monitor: Name of the validation metric, as the trainer knows it.
        mode: Mode with its modifiers, such as ``hidden`` or ``output+patience=3``. Optimizers are
            reset before each epoch (their moments, not their schedules), unless the mode says
            ``persistent``.
        minimize: Whether less is better, as of a loss.
        seed: Seed of the choice of units, and of fresh networks.
        keep: The final model: ``best`` for the holder of the bounty, ``last`` for the last
            candidate.
        fresh: Returns a new model, for the modifiers ``restart`` and ``reinit``.
        network: Name of the part of the model whose units are hit, as in ``"net"``; by default
            the model itself, or the only part of a LightningModule that is called.
        layers: Names of layers whose units may be hit; None for all.
        inputs: Arguments of one call of the network; by default those of its first call are used.
        loss: Returns the loss of the model on a few training samples, always the same ones, as a
            scalar tensor; for modes that rank units by their gradients.
        weight_decay: Decoupled weight decay in mode ``decay``.
        dropout: Drop probability in mode ``dropout``.

    Attributes:
        records: A record of each epoch so far.

    Raises:
        MissingExtraError: The trainer's package is not installed.
        UsageError: The mode is unknown, or asks for what was not given.

    Source: PSA paper, section II.D.
    """

    _parts: ClassVar[bool]  # whether a part of the model may be what is called

    def __init__(
        self,
        monitor: str,
        *,
        mode: str = "hidden",
        minimize: bool = False,
        seed: int = 0,
        keep: str = "best",
        fresh: Callable[[], nn.Module] | None = None,
        network: str | None = None,
        layers: Sequence[str] | None = None,
        inputs: object = None,
        loss: Callable[[nn.Module], Tensor] | None = None,
        weight_decay: float = 0.01,
        dropout: float = 0.1,
    ) -> None:
        if keep not in ("best", "last"):
            raise UsageError(f"keep is {keep!r}, expected 'best' or 'last'.")
        self.monitor, self.mode, self.minimize, self.seed = monitor, get_mode(mode), minimize, seed
        self.keep, self._network = keep, network
        self._given: dict[str, Any] = {
            "fresh": fresh,
            "layers": layers,
            "inputs": inputs,
            "loss": loss,
            "weight_decay": weight_decay,
            "dropout": dropout,
        }
        self._loop: EpochLoop | None = None

    @property
    def records(self) -> list[FrustrationRecord]:
        """Records of the epochs so far."""
        return [] if self._loop is None else self._loop.records

    def best(self) -> nn.Module:
        """Load the bounty's holder into the module and return it.

        Raises:
            UsageError: No epoch was judged.
        """
        if self._loop is None:
            raise UsageError("no epoch was judged yet; train the model first.")
        return self._loop.best()

    def _start(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        saved: SavedEngine | None,
    ) -> None:
        """Make the loop around a model, new or as it was saved."""
        training = ModelTraining(
            model=model, optimizers=tuple(optimizers), minimize=self.minimize, **self._given
        )
        self._loop = EpochLoop(
            training, self.mode, self.seed, network=self._network, parts=self._parts
        )
        if saved is not None:
            self._loop.restore(saved)

    def _finish(self) -> None:
        """Leave the final model."""
        loop = self._running()
        loop.close()
        if self.keep == "best" and loop.has_best:
            loop.best()

    def _running(self) -> EpochLoop:
        assert self._loop is not None, "the trainer begins with our loop"
        return self._loop
