"""The Frustration Engine: one readable meta-loop of Persistent Stochastic Ablation.

    lkg = a freshly initialised network, trained for one epoch
    repeat:
        candidate = clone(lkg)
        in a PSA mode: zero one random neuron of the candidate
        train the candidate for one epoch with a fresh optimizer
        if it beats the bounty on the validation split: lkg = candidate

The LKG itself is never ablated, so damage stays only if it was survived. Meta-loop 1 trains the
fresh initialisation un-ablated and is always promoted (the released code's behaviour).

What is cloned, damaged and trained is behind `Candidate`: the networks of the paper's trials are
one (see `trial`).

Source: PSA paper, section II.D and Fig. 4.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from antifragile.engine.policies import LastKnownGood, Score, next_lkg
from antifragile.model.networks import Weights

Target = TypeVar("Target")
Hit = TypeVar("Hit", covariant=True)
Scored = TypeVar("Scored", int, float, covariant=True)


class Candidate(Protocol[Hit, Scored]):
    """The network that a meta-loop damages and trains, with its data and its optimizer."""

    def initialise(self) -> None:
        """Load the fresh network that meta-loop 1 trains."""

    def load(self, weights: Weights) -> None:
        """Load a clone of these weights, which stay as they are."""

    def damage(self, meta_loop: int) -> Hit | None:
        """Ablate what this meta-loop draws, and return it; None in a mode that ablates nothing."""

    def train_epoch(self, meta_loop: int) -> float:
        """Train for one epoch, and return the mean loss."""

    def score(self) -> Scored:
        """Measure the network on the validation split; more is better."""

    def copy_weights(self) -> Weights:
        """Copy the weights, for an LKG."""


@dataclass(frozen=True, kw_only=True)
class MetaLoopOutcome(Generic[Target, Score]):
    """The outcome of one meta-loop.

    Args:
        meta_loop: 1-based.
        score: The candidate's, after its epoch.
        lkg: The LKG after the meta-loop; its `meta_loop` is this one's if it was promoted.
        target: The part that was ablated; None where nothing was.
        damaged_score: The candidate's score right after the ablation, if it was asked for.
        train_loss: Mean loss over the epoch.
        seconds: Wall time.
    """

    meta_loop: int
    score: Score
    lkg: LastKnownGood[Score]
    target: Target | None
    damaged_score: Score | None
    train_loss: float
    seconds: float

    @property
    def is_promoted(self) -> bool:
        """Whether the candidate became the LKG."""
        return self.lkg.meta_loop == self.meta_loop


def one_meta_loop(
    candidate: Candidate[Target, Score],
    lkg: LastKnownGood[Score] | None,
    meta_loop: int,
    *,
    harm: bool = False,
) -> MetaLoopOutcome[Target, Score]:
    """Clone, damage, train, score, and promote.

    Args:
        candidate: The network, whatever it holds.
        lkg: The LKG so far; None in meta-loop 1.
        meta_loop: 1-based.
        harm: Score the ablated clone before its epoch, too.
    """
    started = time.perf_counter()
    target = None
    if lkg is None:
        candidate.initialise()
    else:
        candidate.load(lkg.weights)
        target = candidate.damage(meta_loop)
    damaged = candidate.score() if harm and target is not None else None
    train_loss = candidate.train_epoch(meta_loop)
    score = candidate.score()
    return MetaLoopOutcome(
        meta_loop=meta_loop,
        score=score,
        lkg=next_lkg(lkg, score, meta_loop, candidate.copy_weights),
        target=target,
        damaged_score=damaged,
        train_loss=train_loss,
        seconds=time.perf_counter() - started,
    )
