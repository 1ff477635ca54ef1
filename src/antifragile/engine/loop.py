"""The Frustration Engine: one readable meta-loop of Persistent Stochastic Ablation.

    lkg = a freshly initialised network, trained for one epoch
    repeat:
        candidate = clone(lkg)
        in a PSA mode: zero one random neuron of the candidate
        train the candidate for one epoch with a fresh optimizer
        if it beats the bounty on the validation split: lkg = candidate

The LKG itself is never ablated, so damage stays only if it was survived. Meta-loop 1 trains the
fresh initialisation un-ablated and is always promoted (the released code's behaviour). This is
the paper's rule; `policies` has the others, which modes ask for by their modifiers.

What is cloned, damaged and trained is behind `Candidate`: the networks of the paper's trials are
one (see `trial`). `one_meta_loop` trains by itself; a trainer that owns the epoch calls its two
halves, `begin_meta_loop` and `end_meta_loop`.

Source: PSA paper, section II.D and Fig. 4.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from antifragile.config.modifiers.records import Promotion
from antifragile.engine.policies import GREEDY, Progress, Score

Target = TypeVar("Target")
Hit = TypeVar("Hit", covariant=True)
Scored = TypeVar("Scored", int, float, covariant=True)


class HasProgress(Protocol):
    """The states that are kept between two meta-loops."""

    @property
    def progress(self) -> Progress[Any]:
        """Scores and counts of the promotion rule."""


States = TypeVar("States", bound=HasProgress)


class Candidate(Protocol[Hit, Scored, States]):
    """The network that a meta-loop damages and trains, with its data and its optimizer."""

    def initialise(self, meta_loop: int) -> None:
        """Load the fresh network that a meta-loop trains: the first one, or one that restarts."""

    def load(self, kept: States) -> None:
        """Load a clone of the LKG, which stays as it is."""

    def damage(self, meta_loop: int, *, rate: int) -> Sequence[Hit]:
        """Damage what this meta-loop draws, and return it; nothing in a mode that does not.

        Args:
            meta_loop: 1-based.
            rate: Number of neurons, where the mode adapts it.
        """

    def train_epoch(self, meta_loop: int) -> float:
        """Train for one epoch, and return the mean loss."""

    def score(self) -> Scored:
        """Measure the network on the validation split; more is better."""

    def keep(self, promotion: Promotion, kept: States | None, score: Any) -> States:
        """Judge the network by a promotion rule, and keep what the rule says.

        Args:
            promotion: The rule.
            kept: The states so far; None in meta-loop 1.
            score: The network's.
        """


@dataclass(frozen=True, kw_only=True)
class MetaLoopOutcome(Generic[Target, Score, States]):
    """The outcome of one meta-loop.

    Args:
        meta_loop: 1-based.
        score: The candidate's, after its epoch.
        kept: The states that are kept after the meta-loop.
        targets: The parts that were ablated; empty where nothing was.
        damaged_score: The candidate's score right after the ablation, if it was asked for.
        train_loss: Mean loss over the epoch.
        seconds: Wall time.
    """

    meta_loop: int
    score: Score
    kept: States
    targets: tuple[Target, ...]
    damaged_score: Score | None
    train_loss: float
    seconds: float

    @property
    def is_promoted(self) -> bool:
        """Whether the candidate became the LKG."""
        return self.kept.progress.lkg.meta_loop == self.meta_loop


@dataclass(frozen=True, kw_only=True)
class BegunMetaLoop(Generic[Target]):
    """A meta-loop whose candidate is ready to be trained.

    Args:
        meta_loop: 1-based.
        targets: The parts that were ablated; empty where nothing was.
        started: When it began, by ``time.perf_counter()``.
    """

    meta_loop: int
    targets: tuple[Target, ...]
    started: float


def begin_meta_loop(
    candidate: Candidate[Target, Score, States],
    kept: States | None,
    meta_loop: int,
    *,
    promotion: Promotion = GREEDY,
) -> BegunMetaLoop[Target]:
    """Clone and damage: everything before the epoch.

    Args:
        candidate: The network, whatever it holds.
        kept: The states so far; None in meta-loop 1.
        meta_loop: 1-based.
        promotion: The rule by which the candidate becomes the LKG.
    """
    started = time.perf_counter()
    targets: Sequence[Target] = ()
    if kept is None or promotion.starts_afresh(meta_loop):
        candidate.initialise(meta_loop)
    else:
        candidate.load(kept)
        targets = candidate.damage(meta_loop, rate=kept.progress.rate)
    return BegunMetaLoop(meta_loop=meta_loop, targets=tuple(targets), started=started)


def end_meta_loop(
    candidate: Candidate[Any, Score, States],
    kept: States | None,
    begun: BegunMetaLoop[Target],
    score: Score,
    *,
    promotion: Promotion = GREEDY,
    damaged_score: Score | None = None,
    train_loss: float = math.nan,
) -> MetaLoopOutcome[Target, Score, States]:
    """Judge and keep: everything after the epoch and its validation.

    Args:
        candidate: The trained network.
        kept: The states so far; None in meta-loop 1.
        begun: The meta-loop, as it began.
        score: The candidate's.
        promotion: The rule by which the candidate becomes the LKG.
        damaged_score: The candidate's right after the ablation, if it was asked for.
        train_loss: Mean loss over the epoch; NaN if it is not known.
    """
    return MetaLoopOutcome(
        meta_loop=begun.meta_loop,
        score=score,
        kept=candidate.keep(promotion, kept, score),
        targets=begun.targets,
        damaged_score=damaged_score,
        train_loss=train_loss,
        seconds=time.perf_counter() - begun.started,
    )


def one_meta_loop(
    candidate: Candidate[Target, Score, States],
    kept: States | None,
    meta_loop: int,
    *,
    promotion: Promotion = GREEDY,
    harm: bool = False,
) -> MetaLoopOutcome[Target, Score, States]:
    """Clone, damage, train, score, and promote.

    Args:
        candidate: The network, whatever it holds.
        kept: The states so far; None in meta-loop 1.
        meta_loop: 1-based.
        promotion: The rule by which the candidate becomes the LKG.
        harm: Score the ablated clone before its epoch, too.
    """
    begun = begin_meta_loop(candidate, kept, meta_loop, promotion=promotion)
    damaged = candidate.score() if harm and begun.targets else None
    train_loss = candidate.train_epoch(meta_loop)
    return end_meta_loop(
        candidate,
        kept,
        begun,
        candidate.score(),
        promotion=promotion,
        damaged_score=damaged,
        train_loss=train_loss,
    )
