"""The promotion rule: strictly better."""

from hypothesis import given
from hypothesis import strategies as st

from antifragile.engine.policies import is_better


@given(st.integers(0, 100), st.integers(0, 100))
def test_only_a_strictly_better_candidate_replaces_the_lkg(old: int, new: int) -> None:
    assert is_better(new, old) == (new > old)
