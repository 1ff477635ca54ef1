"""The promotion rule: strictly better, and the first candidate always."""

from hypothesis import given
from hypothesis import strategies as st

from antifragile.engine.policies import LastKnownGood, next_lkg


def candidate(bounty: int, meta_loop: int = 2) -> LastKnownGood:
    return LastKnownGood(weights={}, bounty=bounty, meta_loop=meta_loop)


def test_the_first_candidate_is_always_promoted() -> None:
    first = candidate(0, meta_loop=1)
    assert next_lkg(None, first) is first


@given(st.integers(0, 100), st.integers(0, 100))
def test_only_a_strictly_better_candidate_replaces_the_lkg(old: int, new: int) -> None:
    lkg, challenger = candidate(old, 1), candidate(new)
    assert next_lkg(lkg, challenger) is (challenger if new > old else lkg)
