"""Choices of neurons: the paper's draws are untouched, and each modifier chooses what it says."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifragile.config.modes import get_mode
from antifragile.errors import UsageError
from antifragile.model.targets import choose_neurons, most_neurons

WIDTHS = (4, 3, 2)  # two hidden layers and two classes
PSA = ("full", "hidden", "output")


def chosen(mode: str, seed: int = 0, widths=WIDTHS, rate: int = 1, values=None):
    found = get_mode(mode)
    rng = np.random.default_rng(seed)
    choice = found.variation.targets
    return choose_neurons(found.ablation, choice, widths, rng=rng, rate=rate, values=values)


@pytest.mark.parametrize("mode", PSA)
@given(seed=st.integers(0, 2**32))
def test_the_papers_modes_draw_as_they_always_did(mode: str, seed: int) -> None:
    ablation = get_mode(mode).ablation
    assert chosen(mode, seed) == [ablation.choose(WIDTHS, np.random.default_rng(seed))]


@pytest.mark.parametrize("mode", PSA)
@given(seed=st.integers(0, 2**32))
def test_the_first_of_several_is_the_one_that_the_base_mode_draws(mode: str, seed: int) -> None:
    assert chosen(f"{mode}+count=2", seed)[:1] == chosen(mode, seed)


@pytest.mark.parametrize(
    ("mode", "number"),
    [
        ("hidden+count=7", 7),
        ("full+count=9", 9),
        ("output+count=2", 2),
        ("hidden+fraction=1", 7),
        ("hidden+fraction=0.01", 1),
        ("hidden+fraction=0.5", 4),  # of 7: 3.5, rounded to even
        ("full+layers=0/2+count=6", 6),
    ],
)
@given(seed=st.integers(0, 2**32))
def test_as_many_different_neurons_as_asked_for(mode: str, number: int, seed: int) -> None:
    found = chosen(mode, seed)
    assert len(found) == len(set(found)) == number
    assert all(0 <= neuron < WIDTHS[layer] for layer, neuron in found)


def test_layers_and_their_chances() -> None:
    assert {layer for seed in range(50) for layer, _ in chosen("full+layers=0/2", seed)} == {0, 2}
    assert {chosen("hidden+layers=1", seed)[0][0] for seed in range(50)} == {1}
    draws = Counter(chosen("hidden+layers=0*3/1*1", seed)[0][0] for seed in range(4000))
    assert draws[0] / 4000 == pytest.approx(3 / 4, abs=0.03)
    even = Counter(chosen("hidden+layers=0/1", seed)[0] for seed in range(7000))
    assert max(abs(n - 1000) for n in even.values()) < 150  # all seven neurons alike


def test_a_fixed_neuron_is_hit_every_time() -> None:
    assert {chosen("hidden+fixed=1/2", seed)[0] for seed in range(20)} == {(1, 2)}


@pytest.mark.parametrize(("rate", "number"), [(1, 1), (4, 4), (100, 7)])
def test_an_adaptive_mode_hits_as_many_as_its_rate(rate: int, number: int) -> None:
    assert len(set(chosen("hidden+adaptive", rate=rate))) == number
    found = get_mode("hidden+adaptive")
    assert most_neurons(found.ablation, found.variation.targets, WIDTHS) == 7


VALUES = [np.array([3.0, 1.0, 2.0, 9.0]), np.array([0.5, 8.0, 0.5]), np.array([7.0, 0.1])]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("hidden+least-magnitude", [(1, 0)]),  # the first of two equal ones
        ("hidden+most-activation", [(0, 3)]),
        ("full+least-gradient+count=2", [(2, 1), (1, 0)]),
        ("hidden+most-magnitude+layers=1", [(1, 1)]),
        ("output+most-gradient", [(2, 0)]),
    ],
)
def test_ranked_neurons_are_the_first_of_their_order(mode: str, expected: list) -> None:
    assert chosen(mode, values=VALUES) == expected


def test_dormant_neurons_are_those_far_below_the_mean_of_their_layer() -> None:
    values = [np.array([0.0, 4.0, 4.0, 4.0]), np.array([0.02, 1.0, 0.025]), np.array([1.0, 1.0])]
    # Means 3 and 0.348: at most 0.075 in layer 0, at most 0.0087 in layer 1.
    assert chosen("hidden+dormant+count=3", values=values) == [(0, 0)]
    values[1][:] = 0  # a dead layer is dormant as a whole
    everything = chosen("hidden+dormant+count=7", values=values)
    assert sorted(everything) == [(0, 0), (1, 0), (1, 1), (1, 2)]
    assert chosen("output+dormant", values=values) == []


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("hidden+count=8", r"count=8 asks for more neurons than the 7 .* at most count=7\."),
        ("hidden+layers=2", r"layer 2 has no neurons .* layers 0 to 1 .* as in 'layers=0'\."),
        ("hidden+fixed=2/0", r"in layer 2, and the mode may hit layers 0 to 1"),
        ("full+fixed=2/2", r"layer 2 has 2; the last one is 'fixed=2/1'\."),
    ],
)
def test_neurons_that_are_not_there_are_refused(mode: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chosen(mode)
