"""The kernel interface: one epoch and one exact evaluation for many replicas of one architecture.

Two implementations: `native.kernel` (compiled, CPU) and `torch.kernel` (batched PyTorch, any
device). Both must agree with `engine` on every replica; `tests/parity` checks that.

Shape letters: R replicas, G groups, P parameters, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from antifragile.config.perturbation import Perturbation
from antifragile.config.specs.training import TrainingOptions
from antifragile.data.splits import Split
from antifragile.fleet.layout import FlatLayout


@dataclass(kw_only=True)
class RowMoments:
    """The memory of one replica's AdamW, which an epoch goes on with and changes in place.

    Args:
        first: (P,) running mean of the gradients.
        second: (P,) running mean of their squares.
        steps: Updates so far.
    """

    first: Tensor
    second: Tensor
    steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Group:
    """Replicas that read the same batches: rows ``start`` to ``stop`` of the fleet.

    Args:
        start: First replica.
        stop: One past the last.
        order: (N,) int64, this epoch's order of the training samples.
        place: Index of the group among all groups of the study, present or not.
        slots: Index of each replica within the group; by default 0, 1, 2, ...
        steps: Updates that the optimizers of all its replicas have made before this epoch.
    """

    start: int
    stop: int
    order: Tensor
    place: int = 0
    slots: tuple[int, ...] = ()
    steps: int = 0

    @property
    def members(self) -> dict[int, int]:
        """Replica by slot."""
        slots = self.slots or range(self.stop - self.start)
        return dict(zip(slots, range(self.start, self.stop), strict=True))


@dataclass(frozen=True, kw_only=True)
class EpochJob:
    """Everything one epoch needs besides the data.

    Args:
        weights: (R, P) the candidates, trained in place.
        groups: Groups that together cover all replicas, in order.
        options: The training options, the same for all.
        weight_decay: Decoupled weight decay of each replica.
        dropout: Drop probability of each replica.
        block_dropout: Drop probability of each replica inside residual blocks; may be left out
            where the network has none.
        dropout_keys: The 64-bit key of each replica's dropout stream.
        meta_loops: The meta-loop each replica is in (1-based).
        perturbations: Perturbations of the update equation, the same for all replicas.
        perturbation_keys: The 64-bit key of each replica's perturbation stream.
        moments: Each replica's optimizer; None for a fresh one that is forgotten. Empty where
            all are.
    """

    weights: Tensor
    groups: Sequence[Group]
    options: TrainingOptions
    weight_decay: Sequence[float]
    dropout: Sequence[float]
    dropout_keys: Sequence[int]
    meta_loops: Sequence[int]
    perturbations: tuple[Perturbation, ...] = ()
    perturbation_keys: Sequence[int] = ()
    block_dropout: Sequence[float] = ()
    moments: Sequence[RowMoments | None] = ()


@dataclass(frozen=True, kw_only=True)
class EpochOutcome:
    """Per replica: mean training loss, and correct validation samples of the trained candidate."""

    train_loss: list[float]
    correct: list[int]


class Kernel(Protocol):
    """Trains and evaluates replicas; made for one layout, one data set, one dtype."""

    name: str
    layout: FlatLayout

    def run_epoch(self, job: EpochJob) -> EpochOutcome:
        """Train every replica for one epoch by AdamW, then count on validation."""

    def count_correct(self, weights: Tensor, split: Split) -> list[int]:
        """Count correct samples of a split for weights (R, P)."""
