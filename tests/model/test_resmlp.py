"""ResMLP: its layers, its forward pass, and what each ablation leaves of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor, nn

from antifragile.config.architecture import Architecture
from antifragile.config.modes import Ablation, get_mode
from antifragile.config.networks import BlockNorm, Initialiser, Network, residual_runs
from antifragile.config.specs.training import TrainingOptions
from antifragile.model.networks import LinearStack, SimpleMLP, clone_weights, initialise
from antifragile.model.neurons import AblationTarget, ablate
from antifragile.model.resmlp import ResMLP, make_network
from tests.model.drawn_targets import choose_target

TWO_RUNS = Architecture.parse("[2*3, 1*5]")  # layers 0 | 1 2 | 3 4 || 5 | 6 7 || 8 (head)


RESIDUAL = TrainingOptions(network=Network.RESMLP)


def network(architecture: str | Architecture, options: TrainingOptions = RESIDUAL) -> LinearStack:
    if isinstance(architecture, str):
        architecture = Architecture.parse(architecture)
    model = make_network(options, architecture, 4, 6)
    initialise(model, generator=torch.Generator().manual_seed(1))
    return model


def in_mode(name: str) -> Ablation:
    ablation = get_mode(name).ablation_in(Network.RESMLP)
    assert ablation is not None
    return ablation


def test_the_kind_chooses_the_class() -> None:
    assert isinstance(network("1*2"), ResMLP)
    assert isinstance(network("1*2", TrainingOptions()), SimpleMLP)


def test_32x4_has_66_layers_and_4470_parameters_on_mnist() -> None:
    architecture = Architecture.parse("32*4")
    model = make_network(RESIDUAL, architecture, 784, 10)
    assert len(model.layers) == 66
    assert sum(p.numel() for p in model.parameters()) == 4470
    assert architecture.parameter_count(784, 10, Network.RESMLP) == 4470


@pytest.mark.parametrize("shape", ["1*1", "3*4", "[2*3, 1*5]", "[1*6, 2*4, 1*6]"])
def test_parameters_are_counted_without_building_them(shape: str) -> None:
    architecture = Architecture.parse(shape)
    model = make_network(RESIDUAL, architecture, 4, 6)
    built = sum(p.numel() for p in model.parameters())
    assert architecture.parameter_count(4, 6, Network.RESMLP) == built


def test_neighbouring_blocks_of_one_width_are_one_run() -> None:
    sizes = Architecture.parse("[1*3, 1*3, 1*5]").layer_sizes(4, 5, Network.RESMLP)
    assert sizes == TWO_RUNS.layer_sizes(4, 5, Network.RESMLP)
    runs = [(run.stem, run.blocks, run.width) for run in residual_runs(sizes[1:])]
    assert runs == [(0, 2, 3), (5, 1, 5)]


def test_forward_is_stems_and_blocks_that_add_to_the_stream() -> None:
    model, x = network(TWO_RUNS), torch.randn(7, 4)
    linear = list(model.layers)
    stream = torch.relu(linear[0](x))
    stream = torch.relu(stream + linear[2](torch.relu(linear[1](stream))))
    stream = torch.relu(stream + linear[4](torch.relu(linear[3](stream))))
    stream = torch.relu(linear[5](stream))
    stream = torch.relu(stream + linear[7](torch.relu(linear[6](stream))))
    assert torch.equal(model(x), linear[8](stream))


def test_layer_norm_acts_where_a_block_reads_the_stream() -> None:
    options = TrainingOptions(network=Network.RESMLP, block_norm=BlockNorm.LAYER)
    model, x = network("2*5", options), torch.randn(7, 4)
    linear = list(model.layers)

    def normed(stream: Tensor) -> Tensor:
        spread = stream.var(dim=1, correction=0, keepdim=True)
        return (stream - stream.mean(dim=1, keepdim=True)) / (spread + 1e-5).sqrt()

    stream = torch.relu(linear[0](x))
    for inner in (1, 3):
        stream = torch.relu(stream + linear[inner + 1](torch.relu(linear[inner](normed(stream)))))
    assert torch.allclose(model(x), linear[5](stream), atol=1e-6)
    assert not torch.allclose(model(x), network("2*5")(x), atol=1e-3)


def test_dropout_acts_after_stems_and_between_the_layers_of_a_block() -> None:
    seen = []

    def dropout(layer: int, hidden: Tensor, *, in_block: bool = False) -> Tensor:
        seen.append((layer, tuple(hidden.shape), in_block))
        return hidden

    model = network(TWO_RUNS)
    model(torch.randn(7, 4), dropout)
    assert seen == [
        (0, (7, 3), False),
        (1, (7, 3), True),
        (3, (7, 3), True),
        (5, (7, 5), False),
        (6, (7, 5), True),
    ]


def test_a_dropped_stem_is_what_the_blocks_add_to() -> None:
    model = network("1*3")

    def silence(layer: int, hidden: Tensor, *, in_block: bool = False) -> Tensor:
        return hidden if in_block else hidden * 0

    linear = list(model.layers)
    inner = torch.relu(linear[1].bias)
    expected = linear[3](torch.relu(linear[2](inner)))
    assert torch.allclose(model(torch.randn(2, 4), silence), expected.expand(2, 6))


@pytest.mark.parametrize("kind", list(Network))
def test_initialisation_is_pytorchs_or_hes(kind: Network) -> None:
    torch.manual_seed(1)
    theirs = [nn.Linear(layer.in_features, layer.out_features) for layer in network("3*40").layers]
    for ours, other in zip(network("3*40").layers, theirs, strict=True):
        assert torch.equal(ours.weight, other.weight)
        assert torch.equal(ours.bias, other.bias)
    model = make_network(TrainingOptions(network=kind), Architecture.parse("3*80"), 300, 90)
    generator = torch.Generator().manual_seed(1)
    initialise(model, generator=generator, law=Initialiser.HE)
    for layer in model.layers:
        assert not layer.bias.any()
        expected = (2 / layer.in_features) ** 0.5
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.05)


def changed(mode: str, seed: int) -> tuple[AblationTarget, dict[str, Tensor]]:
    """A target on two runs, and for every parameter the entries that became zero."""
    model = network(TWO_RUNS)
    target = choose_target(in_mode(mode), model.sizes, rng=np.random.default_rng(seed))
    before, after = clone_weights(model), clone_weights(model)
    ablate(after, target)
    for name, value in after.items():
        same = value == before[name]
        assert not value[~same].any()
    return target, {name: value == 0 for name, value in after.items()}


def entries(rows: list[int], columns: list[int], neuron: int) -> dict[str, Tensor]:
    """Rows and biases of some layers, and columns of others, as masks over all parameters."""
    weights = clone_weights(network(TWO_RUNS))
    masks = {name: torch.zeros_like(value, dtype=torch.bool) for name, value in weights.items()}
    for layer in rows:
        masks[f"layers.{layer}.weight"][neuron] = True
        masks[f"layers.{layer}.bias"][neuron] = True
    for layer in columns:
        masks[f"layers.{layer}.weight"][:, neuron] = True
    return masks


def alike(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("seed", range(12))
def test_hidden_takes_an_inner_neuron_out_of_its_block(seed: int) -> None:
    target, zero = changed("hidden", seed)
    assert target.layer in (1, 3, 6)
    assert alike(zero, entries([target.layer], [target.layer + 1], target.neuron))


@pytest.mark.parametrize("seed", range(12))
def test_channel_takes_a_channel_out_of_its_whole_run(seed: int) -> None:
    target, zero = changed("channel", seed)
    written, read = {0: ([0, 2, 4], [1, 3, 5]), 5: ([5, 7], [6, 8])}[target.layer]
    assert alike(zero, entries(written, read, target.neuron))


@pytest.mark.parametrize("seed", range(12))
def test_author_hidden_takes_the_column_of_the_next_linear_layer(seed: int) -> None:
    target, zero = changed("author-hidden", seed)
    assert 1 <= target.layer <= 7
    assert alike(zero, entries([target.layer], [target.layer + 1], target.neuron))


@pytest.mark.parametrize("mode", ["full", "output"])
def test_full_and_output_take_incoming_weights_and_bias(mode: str) -> None:
    for seed in range(12):
        target, zero = changed(mode, seed)
        assert alike(zero, entries([target.layer], [], target.neuron))
        assert mode == "full" or target.layer == 8


def test_a_channel_that_is_gone_changes_nothing_of_the_others() -> None:
    """The network without channel c is the narrower network that never had it."""
    model, x, c = network("3*4"), torch.randn(20, 4), 2
    target = AblationTarget(ablation=in_mode("channel"), layer=0, neuron=c, blocks=3)
    weights = clone_weights(model)
    ablate(weights, target)
    model.load_state_dict(weights)
    kept = [0, 1, 3]
    smaller = {}
    for layer in range(0, 8):
        weight, bias = weights[f"layers.{layer}.weight"], weights[f"layers.{layer}.bias"]
        writes, reads = layer in (0, 2, 4, 6), layer in (1, 3, 5, 7)
        weight = weight[kept] if writes else weight
        smaller[layer] = (weight[:, kept] if reads else weight, bias[kept] if writes else bias)
    linear = {i: lambda h, w=w, b=b: nn.functional.linear(h, w, b) for i, (w, b) in smaller.items()}
    stream = torch.relu(linear[0](x))
    for inner in (1, 3, 5):
        stream = torch.relu(stream + linear[inner + 1](torch.relu(linear[inner](stream))))
    assert torch.allclose(model(x), linear[7](stream), atol=1e-6)


CELLS = {
    "hidden": [(1, 3), (3, 3), (6, 5)],
    "channel": [(0, 3), (5, 5)],
    "author-hidden": [(1, 3), (2, 3), (3, 3), (4, 3), (5, 5), (6, 5), (7, 5)],
    "output": [(8, 6)],
}


@pytest.mark.parametrize("mode", CELLS)
def test_neurons_are_drawn_uniformly(mode: str) -> None:
    rng, sizes = np.random.default_rng(1), network(TWO_RUNS).sizes
    drawn = (choose_target(in_mode(mode), sizes, rng=rng) for _ in range(6000))
    counts = Counter((target.layer, target.neuron) for target in drawn)
    cells = [(layer, neuron) for layer, width in CELLS[mode] for neuron in range(width)]
    assert set(counts) == set(cells)
    assert chisquare([counts[cell] for cell in cells]).pvalue > 1e-3


def test_full_draws_a_layer_uniformly() -> None:
    rng, sizes = np.random.default_rng(1), network(TWO_RUNS).sizes
    drawn = (choose_target(in_mode("full"), sizes, rng=rng).layer for _ in range(6000))
    counts = Counter(drawn)
    assert set(counts) == set(range(9))
    assert chisquare(list(counts.values())).pvalue > 1e-3
