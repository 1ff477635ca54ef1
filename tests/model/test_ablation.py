"""Ablation: exactly the stated entries become zero, nothing else changes, choices are uniform."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from antifragile.config.architecture import Architecture
from antifragile.config.modes import Ablation, get_mode
from antifragile.errors import UsageError
from antifragile.model.networks import SimpleMLP, clone_weights, initialise
from antifragile.model.neurons import ablate
from tests.model.drawn_targets import choose_target

FULL, HIDDEN, OUTPUT = (get_mode(name).ablation for name in ("full", "hidden", "output"))

ARCHITECTURES = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 6)), min_size=1, max_size=3
).map(lambda blocks: Architecture(tuple(blocks)))


def weights_of(architecture: Architecture, n_inputs: int, n_classes: int) -> dict:
    model = SimpleMLP(architecture, n_inputs, n_classes)
    initialise(model, generator=torch.Generator().manual_seed(0))
    return clone_weights(model)


@pytest.mark.parametrize("ablation", [FULL, HIDDEN, OUTPUT], ids=["full", "hidden", "output"])
@given(
    architecture=ARCHITECTURES,
    n_inputs=st.integers(1, 5),
    n_classes=st.integers(2, 5),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_exactly_the_stated_entries_become_zero(
    ablation: Ablation, architecture: Architecture, n_inputs: int, n_classes: int, seed: int
) -> None:
    before = weights_of(architecture, n_inputs, n_classes)
    sizes = architecture.layer_sizes(n_inputs, n_classes)
    target = choose_target(ablation, sizes, rng=np.random.default_rng(seed))
    after = {name: value.clone() for name, value in before.items()}
    ablate(after, target)

    expected = {name: torch.zeros_like(value, dtype=torch.bool) for name, value in before.items()}
    expected[f"layers.{target.layer}.weight"][target.neuron, :] = True
    expected[f"layers.{target.layer}.bias"][target.neuron] = True
    if ablation is HIDDEN:
        expected[f"layers.{target.layer + 1}.weight"][:, target.neuron] = True
    for name, value in after.items():
        assert (value[expected[name]] == 0).all()
        assert torch.equal(value[~expected[name]], before[name][~expected[name]])


def draws(ablation: Ablation, n: int = 6000) -> Counter[tuple[int, int]]:
    rng = np.random.default_rng(1)
    sizes = Architecture.parse("[2*3, 1*7]").layer_sizes(11, 4)
    targets = (choose_target(ablation, sizes, rng=rng) for _ in range(n))
    return Counter((target.layer, target.neuron) for target in targets)


def test_full_chooses_a_layer_uniformly_then_a_neuron() -> None:
    counts = draws(FULL)
    widths = {0: 3, 1: 3, 2: 7, 3: 4}
    cells = [(layer, neuron) for layer, width in widths.items() for neuron in range(width)]
    assert set(counts) == set(cells)
    total = counts.total()
    expected = [total / len(widths) / widths[layer] for layer, _ in cells]
    assert chisquare([counts[cell] for cell in cells], expected).pvalue > 1e-3


def test_hidden_chooses_uniformly_among_all_hidden_neurons() -> None:
    counts = draws(HIDDEN)
    cells = [(0, n) for n in range(3)] + [(1, n) for n in range(3)] + [(2, n) for n in range(7)]
    assert set(counts) == set(cells)
    assert chisquare([counts[cell] for cell in cells]).pvalue > 1e-3


def test_output_chooses_uniformly_among_output_neurons() -> None:
    counts = draws(OUTPUT)
    cells = [(3, n) for n in range(4)]
    assert set(counts) == set(cells)
    assert chisquare([counts[cell] for cell in cells]).pvalue > 1e-3


def test_hidden_needs_a_hidden_layer() -> None:
    with pytest.raises(UsageError, match="needs at least one hidden layer"):
        choose_target(HIDDEN, (5, 2), rng=np.random.default_rng(0))
