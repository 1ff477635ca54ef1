"""Records of a user's model: one of each meta-loop, and those that are saved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from antifragile.engine.frustration.training import ModelTraining
from antifragile.engine.loop import MetaLoopOutcome
from antifragile.engine.policies import Progress


@dataclass(frozen=True, kw_only=True)
class FrustrationRecord:
    """One meta-loop of a user's model.

    Args:
        meta_loop: 1-based.
        score: Result of the validation after the epoch.
        bounty: Best score so far.
        promoted: Whether the candidate became the LKG.
        ablated: Names of the units that were hit before the epoch, such as ``blocks.0.fc1[7]``.
        train_loss: Result of ``train_epoch``; None if it is not known.
        seconds: Wall time of the meta-loop.
        own_seconds: The part of it that the engine took for itself, without training and
            validation.
    """

    meta_loop: int
    score: float
    bounty: float
    promoted: bool
    ablated: tuple[str, ...]
    train_loss: float | None
    seconds: float
    own_seconds: float


def record_of(
    outcome: MetaLoopOutcome[Any, float, Any], training: ModelTraining, own_seconds: float
) -> FrustrationRecord:
    """Make the record of a meta-loop.

    Args:
        outcome: Its outcome; targets are units, or names of units.
        training: The model's, which says how scores are shown.
        own_seconds: Seconds that the engine took for itself.
    """
    return FrustrationRecord(
        meta_loop=outcome.meta_loop,
        score=training.user_score(outcome.score),
        bounty=training.user_score(outcome.kept.progress.best.score),
        promoted=outcome.is_promoted,
        ablated=tuple(getattr(target, "name", target) for target in outcome.targets),
        train_loss=None if math.isnan(outcome.train_loss) else outcome.train_loss,
        seconds=outcome.seconds,
        own_seconds=own_seconds,
    )


@dataclass(frozen=True, kw_only=True)
class SavedPosition:
    """Everything in the file that is no tensor.

    Args:
        mode: The mode.
        seed: Seed of the ablations.
        minimize: Whether less is better; scores are those of the engine, where more is.
        layers: Names of the layers whose hidden units may be hit; None for all.
        weight_decay: Decoupled weight decay in mode ``decay``.
        dropout: Drop probability in mode ``dropout``.
        progress: Scores and counts; None before the first meta-loop has ended.
        units: Number of units of every layer that the mode hits.
    """

    mode: str
    seed: int
    minimize: bool
    layers: tuple[str, ...] | None
    weight_decay: float
    dropout: float
    progress: Progress[float] | None
    units: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class SavedEpochs:
    """The meta-loops as a trainer's epochs.

    Args:
        open_meta_loop: The one that had begun and was not judged; 0 for none.
        ablated: Names of the units that it hit.
        records: Records of those that were judged.
    """

    open_meta_loop: int
    ablated: tuple[str, ...]
    records: tuple[FrustrationRecord, ...]
