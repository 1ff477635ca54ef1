"""Promotion rules as pure functions: counts and scores in, the next standing and copies out.

A trial keeps up to three states: the LKG, from which the next candidate is cloned; the best one,
which holds the bounty; and, under `patience`, the best of the candidates that failed since. After
each meta-loop `decide` says from the scores alone where everything stands and which states are
copied where; whoever holds the weights copies them (`keep_states` here, rows of a matrix in the
fleet).

    greedy         a candidate that beats the bounty becomes the LKG
    patience       as greedy; and after N failures in a row the best failed candidate becomes the
                   LKG, the bounty stays, and N grows; every candidate still has to beat the bounty
    always-accept  every candidate becomes the LKG
    restart        greedy within a stretch of K meta-loops; each begins with a fresh network

Source: PSA paper, section II.D, step 4, and the equations of Fig. 4, for greedy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Generic, TypeVar

from antifragile.config.modifiers.records import Promotion, PromotionRule
from antifragile.model.networks import Weights

Score = TypeVar("Score", int, float)
"""Correct validation samples of a trial; more is better."""

GREEDY = Promotion()


class StateSlot(StrEnum):
    """The states that a copy goes from or to; BEST is filled only while it is not the LKG."""

    CANDIDATE = "candidate"
    LKG = "lkg"
    BEST = "best"
    RECENT = "recent"


@dataclass(frozen=True, kw_only=True)
class Standing(Generic[Score]):
    """The score of a state, and the meta-loop whose candidate it was."""

    score: Score
    meta_loop: int


@dataclass(frozen=True, kw_only=True)
class Progress(Generic[Score]):
    """The standing of a trial after a meta-loop.

    Args:
        meta_loop: Meta-loops so far.
        lkg: Standing of the LKG.
        best: The bounty and its holder.
        recent: Best candidate that failed since the LKG last changed; patience only.
        failures: Candidates in a row that did not beat the bounty; patience only.
        patience: Failures at which the LKG steps back; 0 under other rules.
        rate: Neurons that the next candidate loses in an adaptive mode.
    """

    meta_loop: int
    lkg: Standing[Score]
    best: Standing[Score]
    recent: Standing[Score] | None = None
    failures: int = 0
    patience: int = 0
    rate: int = 1


@dataclass(frozen=True, kw_only=True)
class Decision(Generic[Score]):
    """The outcome of a meta-loop.

    Args:
        progress: Where the trial stands now.
        copies: Pairs of slots (from, to), to be copied in this order.
    """

    progress: Progress[Score]
    copies: tuple[tuple[StateSlot, StateSlot], ...]


def decide(
    promotion: Promotion, before: Progress[Score] | None, score: Score, *, most_rate: int = 1
) -> Decision[Score]:
    """Judge the candidate of the next meta-loop.

    Args:
        promotion: The rule.
        before: Where the trial stood; None before its first meta-loop.
        score: The candidate's.
        most_rate: Upper bound of an adaptive rate; 1 where the mode has none.
    """
    if before is None:
        first = Standing(score=score, meta_loop=1)
        patience = _first_patience(promotion)
        return _changed(Progress(meta_loop=1, lkg=first, best=first, patience=patience), None)
    candidate = Standing(score=score, meta_loop=before.meta_loop + 1)
    restarts = promotion.starts_afresh(candidate.meta_loop)
    is_restarting = promotion.rule is PromotionRule.RESTART
    rival = before.lkg if is_restarting else before.best
    succeeds = _beats(score, rival.score)
    after = Progress(
        meta_loop=candidate.meta_loop,
        lkg=before.lkg,
        best=candidate if _beats(score, before.best.score) else before.best,
        patience=_first_patience(promotion),
        rate=min(max(1, most_rate), next_rate(before.rate, succeeds=succeeds)),
    )
    if succeeds or restarts or promotion.rule is PromotionRule.ALWAYS_ACCEPT:
        after = replace(after, lkg=candidate)
    elif promotion.rule is PromotionRule.PATIENCE:
        after = _failed(promotion, before, after, candidate)
    return _changed(after, before)


def _beats(score: Score, rival: Score) -> bool:
    """Whether a score is strictly better; any number is better than none (NaN)."""
    return score > rival or (rival != rival and score == score)


def next_rate(rate: int, *, succeeds: bool) -> int:
    """Double an adaptive rate after a success, halve it after a failure."""
    return 2 * rate if succeeds else max(1, rate // 2)


def _first_patience(promotion: Promotion) -> int:
    return promotion.loops if promotion.rule is PromotionRule.PATIENCE else 0


def _failed(
    promotion: Promotion,
    before: Progress[Score],
    after: Progress[Score],
    candidate: Standing[Score],
) -> Progress[Score]:
    """Count a failure; where patience ends, the best recent candidate becomes the LKG."""
    recent = before.recent
    if recent is None or _beats(candidate.score, recent.score):
        recent = candidate
    patience = before.patience or promotion.loops
    failures = before.failures + 1
    if failures < patience:
        return replace(after, recent=recent, failures=failures, patience=patience)
    grown = max(patience, math.ceil(patience * promotion.growth))
    return replace(after, lkg=recent, patience=grown)


def _changed(after: Progress[Score], before: Progress[Score] | None) -> Decision[Score]:
    """List the copies that lead from one standing to the next."""
    slots = {} if before is None else _places(before)
    here = slots.get  # a meta-loop that is in no slot is the candidate's
    copies = []
    if StateSlot.BEST in filled_slots(after) and here(after.best.meta_loop) is not StateSlot.BEST:
        copies.append((here(after.best.meta_loop, StateSlot.CANDIDATE), StateSlot.BEST))
    if here(after.lkg.meta_loop) is not StateSlot.LKG:
        copies.append((here(after.lkg.meta_loop, StateSlot.CANDIDATE), StateSlot.LKG))
    if after.recent is not None and here(after.recent.meta_loop) is None:
        copies.append((StateSlot.CANDIDATE, StateSlot.RECENT))
    return Decision(progress=after, copies=tuple(copies))


def _places(progress: Progress[Score]) -> dict[int, StateSlot]:
    """Find the slot of the candidate of each meta-loop that is kept."""
    places = {progress.recent.meta_loop: StateSlot.RECENT} if progress.recent is not None else {}
    places[progress.best.meta_loop] = StateSlot.BEST
    places[progress.lkg.meta_loop] = StateSlot.LKG
    return places


def filled_slots(progress: Progress[Score]) -> frozenset[StateSlot]:
    """Return the slots that hold weights at a standing."""
    slots = {StateSlot.LKG}
    if progress.best.meta_loop != progress.lkg.meta_loop:
        slots.add(StateSlot.BEST)
    if progress.recent is not None:
        slots.add(StateSlot.RECENT)
    return frozenset(slots)


@dataclass(frozen=True, kw_only=True)
class LastKnownGood(Generic[Score]):
    """A network state, its score, and the meta-loop whose candidate it was.

    Under the greedy rule the score of the LKG is the bounty; under another rule the bounty may be
    that of another state (`KeptStates.best`).
    """

    weights: Weights
    bounty: Score
    meta_loop: int


@dataclass(frozen=True, kw_only=True)
class KeptStates(Generic[Score]):
    """The states that a trial keeps between meta-loops, in memory.

    Args:
        progress: Their scores, and the counts of the promotion rule.
        weights: Weights by slot; BEST only while it is not the LKG, RECENT only under patience.
    """

    progress: Progress[Score]
    weights: Mapping[StateSlot, Weights]

    @property
    def lkg(self) -> LastKnownGood[Score]:
        """The state that the next candidate is cloned from."""
        return self._state(self.progress.lkg, StateSlot.LKG)

    @property
    def best(self) -> LastKnownGood[Score]:
        """The holder of the bounty, which is tested at the end."""
        is_lkg = StateSlot.BEST not in self.weights
        return self._state(self.progress.best, StateSlot.LKG if is_lkg else StateSlot.BEST)

    @property
    def is_promoted(self) -> bool:
        """Whether the last candidate became the LKG."""
        return self.progress.lkg.meta_loop == self.progress.meta_loop

    def _state(self, standing: Standing[Score], slot: StateSlot) -> LastKnownGood[Score]:
        return LastKnownGood(
            weights=self.weights[slot], bounty=standing.score, meta_loop=standing.meta_loop
        )


def keep_states(
    promotion: Promotion,
    before: KeptStates[Score] | None,
    score: Score,
    copy_weights: Callable[[], Weights],
    *,
    most_rate: int = 1,
) -> KeptStates[Score]:
    """Judge a candidate, and keep what the rule says.

    Args:
        promotion: The rule.
        before: The states so far; None before the first meta-loop.
        score: The candidate's.
        copy_weights: Copies the candidate's weights; called at most once, and only if it is kept.
        most_rate: Upper bound of an adaptive rate; 1 where the mode has none.
    """
    progress = None if before is None else before.progress
    decision = decide(promotion, progress, score, most_rate=most_rate)
    weights = dict(before.weights) if before is not None else {}
    if any(source is StateSlot.CANDIDATE for source, _ in decision.copies):
        weights[StateSlot.CANDIDATE] = copy_weights()
    for source, place in decision.copies:
        weights[place] = weights[source]
    filled = filled_slots(decision.progress)
    return KeptStates(
        progress=decision.progress,
        weights={slot: value for slot, value in weights.items() if slot in filled},
    )
