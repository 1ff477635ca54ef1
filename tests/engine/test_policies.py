"""The promotion rule: strictly better, and the first candidate always."""

from hypothesis import given
from hypothesis import strategies as st

from antifragile.engine.policies import LastKnownGood, next_lkg

FIRST = LastKnownGood(weights={}, bounty=0, meta_loop=1)


def test_the_first_candidate_is_always_promoted() -> None:
    assert next_lkg(None, 0, 1, dict) == FIRST


@given(st.integers(0, 100), st.integers(0, 100))
def test_only_a_strictly_better_candidate_replaces_the_lkg(old: int, new: int) -> None:
    lkg = LastKnownGood(weights={}, bounty=old, meta_loop=1)
    challenger = LastKnownGood(weights={}, bounty=new, meta_loop=2)
    found = next_lkg(lkg, new, 2, dict)
    assert found == challenger if new > old else found is lkg
