"""The options and the handle that the callbacks which perturb a trainer's optimizer share."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from antifragile.errors import UsageError
from antifragile.integrations.joined import JoinedCallback
from antifragile.optim.attach.handle import Handle
from antifragile.optim.attach.perturb import flatten_rules, perturb
from antifragile.optim.rules import Place, Rule

SHARDED = (
    "{} shards the weights over processes, where no process holds a parameter whole that it could "
    "perturb; use DistributedDataParallel, or a single process."
)


class PerturbCallback(JoinedCallback):
    """Options and handle of a callback that perturbs the optimizer of a trainer.

    The trainer's optimizer is perturbed from the start of a training to its end, also where that
    is an exception; the weights left are clean.

    Args:
        *rules: Rules, tuples of them, or presets, as `antifragile.perturb` takes them.
        seed: Seed of the noise; None derives it from `torch.initial_seed`.
        per_rank: Whether every process draws its own noise.
        network: Name of the part of the model whose calls are its forwards, as in ``"encoder"``.

    Attributes:
        rules: The rules.
        handle: The handle while a training is under way; else None.

    Raises:
        MissingExtraError: The trainer's package is not installed.
        UsageError: Something is no rule.
    """

    def __init__(
        self,
        *rules: Rule | Sequence[Rule],
        seed: int | None = None,
        per_rank: bool = False,
        network: str | None = None,
    ) -> None:
        self.rules = tuple(flatten_rules(rules))
        if not self.rules:
            raise UsageError(f"{type(self).__name__} got no rule; expected at least one.")
        self.handle: Handle | None = None
        self._seed, self._per_rank, self._network = seed, per_rank, network

    def remove(self) -> None:
        """End the perturbation and leave clean weights; once more changes nothing."""
        if self.handle is not None:
            self.handle.remove()
            self.handle = None

    def __enter__(self) -> Self:
        """Begin a block after which nothing is perturbed, whatever happens in it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        """End the perturbation."""
        self.remove()

    @property
    def _takes_second_gradients(self) -> bool:
        return any(rule.noise.needs_closure for rule in self.rules)

    @property
    def _perturbs_weights(self) -> bool:
        return any(rule.where is Place.WEIGHT for rule in self.rules)

    def _attach(
        self, optimizer: torch.optim.Optimizer, model: nn.Module, called: Sequence[nn.Module] = ()
    ) -> Handle:
        """Perturb an optimizer, and no longer that of the training before."""
        self.remove()
        self.handle = perturb(
            optimizer,
            *self.rules,
            seed=self._seed,
            model=model,
            called=called,
            per_rank=self._per_rank,
        )
        return self.handle

    def _kept_by_copies(self) -> dict[str, Any]:
        """Leave the handle to the original."""
        return {**self.__dict__, "handle": None}
