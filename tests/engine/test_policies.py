"""Promotion rules: exact small cases, and properties that hold for any scores."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifragile.config.modifiers.records import Promotion, PromotionRule
from antifragile.engine.policies import (
    GREEDY,
    KeptStates,
    Standing,
    StateSlot,
    decide,
    filled_slots,
    keep_states,
)

PATIENCE = Promotion(rule=PromotionRule.PATIENCE, loops=2)
ACCEPT = Promotion(rule=PromotionRule.ALWAYS_ACCEPT)
RESTART = Promotion(rule=PromotionRule.RESTART, loops=3)
RULES = [GREEDY, PATIENCE, Promotion(rule=PATIENCE.rule, loops=3, growth=1.5), ACCEPT, RESTART]
SCORES = st.lists(st.integers(0, 8), min_size=1, max_size=40)


def course(promotion: Promotion, scores: Sequence[int], most_rate: int = 1) -> list[KeptStates]:
    """States after each meta-loop; the weights of a candidate are its meta-loop and score."""
    kept, found = None, []
    for meta_loop, score in enumerate(scores, start=1):
        weights = {"w": (score, meta_loop)}
        kept = keep_states(promotion, kept, score, lambda w=weights: w, most_rate=most_rate)
        found.append(kept)
    return found


def lkgs(promotion: Promotion, *scores: int) -> list[int]:
    """The meta-loop whose candidate is the LKG, after each meta-loop."""
    return [kept.lkg.meta_loop for kept in course(promotion, scores)]


def test_greedy_promotes_the_first_and_whatever_is_strictly_better() -> None:
    assert lkgs(GREEDY, 0, 0, 3, 2, 3, 4) == [1, 1, 3, 3, 3, 6]


def test_patience_steps_back_to_the_best_recent_failure_and_keeps_the_bounty() -> None:
    states = course(PATIENCE, [9, 4, 5])
    assert [kept.lkg.meta_loop for kept in states] == [1, 1, 3]
    assert states[-1].best.bounty == 9
    assert states[-1].progress.patience == 4
    assert (states[-1].progress.failures, states[-1].progress.recent) == (0, None)


def test_an_earlier_failure_that_was_better_is_stepped_back_to() -> None:
    states = course(PATIENCE, [9, 5, 4])
    assert states[-1].lkg.meta_loop == 2
    assert not states[-1].is_promoted
    assert states[-1].lkg.weights == {"w": (5, 2)}


def test_after_a_step_back_only_the_bounty_counts_and_patience_has_doubled() -> None:
    # Meta-loops 4 to 7 beat the new LKG (5) but not the bounty (9): four failures.
    assert lkgs(PATIENCE, 9, 5, 4, 6, 8, 7, 6, 1) == [1, 1, 2, 2, 2, 2, 5, 5]
    states = course(PATIENCE, [9, 5, 4, 6, 10])
    assert states[-1].lkg.meta_loop == 5
    assert states[-1].progress.patience == 2  # as at first


def test_patience_may_grow_by_another_factor() -> None:
    slow = Promotion(rule=PromotionRule.PATIENCE, loops=2, growth=1.5)
    states = course(slow, [9] + [0] * 12)
    assert [kept.progress.patience for kept in states] == [2, 2, 3, 3, 3, 5, 5, 5, 5, 5, 8, 8, 8]


def test_always_accept_takes_every_candidate_and_keeps_the_best_aside() -> None:
    states = course(ACCEPT, [3, 5, 4, 5])
    assert [kept.lkg.meta_loop for kept in states] == [1, 2, 3, 4]
    assert [kept.best.meta_loop for kept in states] == [1, 2, 2, 2]
    assert states[-1].best.weights == {"w": (5, 2)}


def test_restart_takes_the_first_candidate_of_each_stretch_and_is_greedy_inside() -> None:
    states = course(RESTART, [5, 7, 6, 1, 2, 2, 8, 7])
    assert [kept.lkg.meta_loop for kept in states] == [1, 2, 2, 4, 5, 5, 7, 7]
    assert [kept.best.meta_loop for kept in states] == [1, 2, 2, 2, 2, 2, 7, 7]
    assert [RESTART.starts_afresh(loop) for loop in range(1, 9)] == [
        *(True, False, False),
        *(True, False, False),
        *(True, False),
    ]


def test_an_adaptive_rate_doubles_halves_and_stays_in_bounds() -> None:
    states = course(GREEDY, [1, 2, 3, 4, 5, 5, 5, 5, 5], most_rate=5)
    assert [kept.progress.rate for kept in states] == [1, 2, 4, 5, 5, 2, 1, 1, 1]


def test_a_rule_may_change_from_one_meta_loop_to_the_next() -> None:
    accepted = course(ACCEPT, [9, 3])[-1]
    kept = keep_states(GREEDY, accepted, 8, lambda: {"w": (8, 3)})
    assert (kept.lkg.meta_loop, kept.best.meta_loop) == (2, 1)
    kept = keep_states(PATIENCE, kept, 8, lambda: {"w": (8, 4)})
    assert (kept.progress.failures, kept.progress.patience) == (1, 2)


@pytest.mark.parametrize("nan_first", [True, False])
def test_a_score_that_is_no_number_is_worse_than_any(nan_first: bool) -> None:
    nan = float("nan")
    first, second = (nan, 0.5) if nan_first else (0.5, nan)
    before = decide(GREEDY, None, first).progress
    assert decide(GREEDY, before, second).progress.lkg.meta_loop == (2 if nan_first else 1)


@given(SCORES, st.sampled_from(RULES))
def test_every_slot_holds_the_weights_that_its_score_says(
    scores: list[int], rule: Promotion
) -> None:
    for kept in course(rule, scores):
        assert set(kept.weights) == filled_slots(kept.progress)
        standings = {StateSlot.LKG: kept.progress.lkg, StateSlot.BEST: kept.progress.best}
        if kept.progress.recent is not None:
            standings[StateSlot.RECENT] = kept.progress.recent
        for slot, weights in kept.weights.items():
            score, meta_loop = weights["w"]
            assert standings[slot] == Standing(score=score, meta_loop=meta_loop)


@given(SCORES, st.sampled_from(RULES))
def test_the_bounty_is_the_best_score_so_far_and_its_first_holder_keeps_it(
    scores: list[int], rule: Promotion
) -> None:
    for n, kept in enumerate(course(rule, scores), start=1):
        best = max(scores[:n])
        assert (kept.best.bounty, kept.best.meta_loop) == (best, scores.index(best) + 1)


@given(SCORES)
def test_under_greedy_the_lkg_holds_the_bounty(scores: list[int]) -> None:
    for kept in course(GREEDY, scores):
        assert kept.progress.lkg == kept.progress.best
        assert set(kept.weights) == {StateSlot.LKG}


@given(SCORES, st.sampled_from(RULES))
def test_weights_are_copied_only_if_they_are_kept(scores: list[int], rule: Promotion) -> None:
    kept, copied = None, set()
    for meta_loop, score in enumerate(scores, start=1):
        kept = keep_states(rule, kept, score, lambda m=meta_loop: copied.add(m) or {})
        progress = kept.progress
        present = [progress.lkg, progress.best, progress.recent]
        is_kept = meta_loop in {standing.meta_loop for standing in present if standing}
        assert (meta_loop in copied) == is_kept


@given(SCORES, st.integers(1, 5), st.floats(1, 3))
def test_the_lkg_changes_under_patience_at_improvements_and_when_patience_ends(
    scores: list[int], loops: int, growth: float
) -> None:
    rule = Promotion(rule=PromotionRule.PATIENCE, loops=loops, growth=growth)
    for before, after in itertools.pairwise(course(rule, scores)):
        improved = after.progress.best != before.progress.best
        ended = not improved and before.progress.failures + 1 == before.progress.patience
        assert (after.progress.lkg != before.progress.lkg) == (improved or ended)
        assert after.progress.patience >= loops
        if improved:
            assert (after.progress.patience, after.progress.failures) == (loops, 0)
