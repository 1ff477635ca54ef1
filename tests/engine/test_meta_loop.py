"""The meta-loop against a plain loop written here, and what must hold in every mode."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from antifragile.config.modes import PAPER_MODES
from antifragile.config.seeds import Pairing, dropout_keep_mask
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.policies import LastKnownGood
from antifragile.engine.records import MetaLoopRecord
from antifragile.engine.trial import TrialState, finish, initial_weights, meta_loops

MODES = pytest.mark.parametrize("mode", PAPER_MODES)


def run(spec: TrialSpec, data: Dataset, **options) -> tuple[list[MetaLoopRecord], list[TrialState]]:
    records, states = zip(*meta_loops(spec, data, **options), strict=True)
    return list(records), list(states)


def timeless(records: list[MetaLoopRecord]) -> list[MetaLoopRecord]:
    return [replace(record, seconds=0.0) for record in records]


def plain_epoch(spec: TrialSpec, data: Dataset, weights: dict, meta_loop: int) -> nn.Module:
    """Train as a PyTorch user would write it: nn.Sequential, autograd, torch.optim.AdamW."""
    sizes = spec.architecture.layer_sizes(data.n_inputs, data.n_classes)
    linears = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    for index, linear in enumerate(linears):
        linear.load_state_dict(
            {key: weights[f"layers.{index}.{key}"].clone() for key in ("weight", "bias")}
        )
    network = nn.ModuleList(linears)
    p, decay = spec.dropout, spec.weight_decay
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=spec.training.learning_rate, weight_decay=decay
    )
    streams = spec.streams()
    order = streams.order.generator(meta_loop).permutation(data.train.n_samples)
    size = spec.training.batch_size
    for step in range(0, -(-len(order) // size)):
        rows = torch.from_numpy(order[step * size : (step + 1) * size])
        hidden = data.train.images[rows]
        for index, linear in enumerate(linears[:-1]):
            hidden = torch.relu(linear(hidden))
            if p:
                keep = dropout_keep_mask(
                    streams.dropout,
                    meta_loop=meta_loop,
                    step=step,
                    layer=index,
                    shape=tuple(hidden.shape),
                    p=p,
                )
                hidden = hidden * torch.from_numpy(keep).float() * (1 / (1 - p))
        loss = nn.functional.cross_entropy(linears[-1](hidden), data.train.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


@MODES
def test_weights_after_one_epoch_equal_a_plain_autograd_loop(
    mode: str, spec: TrialSpec, tiny: Dataset
) -> None:
    spec = replace(spec, mode=mode, meta_loops=1)
    _, (state,) = run(spec, tiny)
    network = plain_epoch(spec, tiny, dict(initial_weights(spec, tiny)), meta_loop=1)
    for index, linear in enumerate(network):
        assert torch.equal(state.lkg.weights[f"layers.{index}.weight"], linear.weight)
        assert torch.equal(state.lkg.weights[f"layers.{index}.bias"], linear.bias)


def test_a_damaged_meta_loop_starts_from_the_ablated_lkg(spec: TrialSpec, tiny: Dataset) -> None:
    spec = replace(spec, mode="hidden", meta_loops=1)
    _, (first,) = run(spec, tiny)
    records, (second,) = run(replace(spec, meta_loops=2), tiny, start=first)
    damaged = {name: value.clone() for name, value in first.lkg.weights.items()}
    layer, neuron = records[0].ablated_layer, records[0].ablated_neuron
    damaged[f"layers.{layer}.weight"][neuron] = 0
    damaged[f"layers.{layer}.bias"][neuron] = 0
    damaged[f"layers.{layer + 1}.weight"][:, neuron] = 0
    network = plain_epoch(spec, tiny, damaged, meta_loop=2)
    correct = hand_count(network, tiny)
    assert records[0].validation_correct == correct
    if second.lkg.meta_loop == 2:
        assert torch.equal(second.lkg.weights["layers.0.weight"], network[0].weight)


def hand_count(network: nn.ModuleList, data: Dataset) -> int:
    hidden = data.validation.images
    for linear in network[:-1]:
        hidden = torch.relu(linear(hidden))
    return int((network[-1](hidden).argmax(1) == data.validation.labels).sum())


@MODES
def test_the_ratchet_holds_in_every_mode(mode: str, spec: TrialSpec, tiny: Dataset) -> None:
    records, states = run(replace(spec, mode=mode, meta_loops=12), tiny)
    assert [record.meta_loop for record in records] == list(range(1, 13))
    assert records[0].promoted
    assert records[0].ablated_layer is None
    best = -1
    for record in records:
        assert record.promoted == (record.validation_correct > best)
        best = max(best, record.validation_correct)
        assert record.bounty == best
        assert 0 <= record.validation_correct <= tiny.validation.n_samples
    ablates = mode in ("full", "hidden", "output")
    assert all((record.ablated_layer is not None) == ablates for record in records[1:])
    result = finish(replace(spec, mode=mode), tiny, states[-1])
    assert result.peak_correct == best
    assert records[result.peak_meta_loop - 1].promoted
    assert result.final_correct == records[-1].validation_correct


@MODES
def test_the_lkg_never_changes_unless_it_is_replaced(
    mode: str, spec: TrialSpec, tiny: Dataset
) -> None:
    kept: dict[int, tuple[LastKnownGood, dict]] = {}
    for _, state in meta_loops(replace(spec, mode=mode, meta_loops=10), tiny):
        lkg = state.lkg
        if lkg.meta_loop not in kept:
            kept[lkg.meta_loop] = (lkg, {k: v.clone() for k, v in lkg.weights.items()})
        assert kept[lkg.meta_loop][0].weights is lkg.weights
    for lkg, copy in kept.values():
        assert all(torch.equal(lkg.weights[name], value) for name, value in copy.items())


@MODES
def test_going_on_from_any_state_gives_the_same_bits(
    mode: str, spec: TrialSpec, tiny: Dataset
) -> None:
    spec = replace(spec, mode=mode)
    records, states = run(spec, tiny)
    for start in (1, 3, 5):
        again, ends = run(spec, tiny, start=states[start - 1])
        assert timeless(again) == timeless(records[start:])
        for name, value in ends[-1].lkg.weights.items():
            assert torch.equal(value, states[-1].lkg.weights[name])


def test_same_seed_same_numbers_whatever_else_runs(spec: TrialSpec, tiny: Dataset) -> None:
    first, _ = run(spec, tiny)
    torch.manual_seed(99)
    np.random.default_rng(99).random(10)
    torch.rand(10)
    interleaved = meta_loops(spec, tiny)
    other = meta_loops(replace(spec, mode="dropout", seed=5), tiny)
    second = [pair[0][0] for pair in zip(interleaved, other, strict=True)]
    assert timeless(first) == timeless(second)


def test_a_decay_that_rounds_away_equals_none_bit_for_bit(spec: TrialSpec, tiny: Dataset) -> None:
    paper = replace(spec.training, learning_rate=1e-4, weight_decay=1e-4)
    assert paper.decay_is_placebo
    none, ends = run(replace(spec, training=paper), tiny)
    decay, decay_ends = run(replace(spec, training=paper, mode="decay"), tiny)
    assert timeless(none) == timeless(decay)
    for name, value in ends[-1].lkg.weights.items():
        assert torch.equal(value, decay_ends[-1].lkg.weights[name])


def test_a_decay_that_acts_differs(spec: TrialSpec, tiny: Dataset) -> None:
    assert not spec.training.decay_is_placebo
    none, _ = run(spec, tiny)
    decay, _ = run(replace(spec, mode="decay"), tiny)
    assert timeless(none) != timeless(decay)


def test_independent_modes_start_from_different_networks(spec: TrialSpec, tiny: Dataset) -> None:
    specs = [replace(spec, pairing=Pairing.INDEPENDENT, mode=mode) for mode in ("none", "decay")]
    first, second = (initial_weights(s, tiny)["layers.0.weight"] for s in specs)
    assert not torch.equal(first, second)


def test_a_diverged_network_counts_as_wrong_not_as_a_class(spec: TrialSpec, tiny: Dataset) -> None:
    wild = replace(spec.training, learning_rate=1e17)
    records, _ = run(replace(spec, training=wild, meta_loops=2), tiny)
    assert not np.isfinite(records[-1].train_loss)
    assert records[-1].validation_correct == 0


def test_numerics_are_restored_after_training(spec: TrialSpec, tiny: Dataset) -> None:
    before = torch.get_num_threads()
    run(replace(spec, meta_loops=1), tiny)
    assert torch.get_num_threads() == before
    denormal = torch.tensor([1e-40]) * 1.0
    assert float(denormal[0]) != 0.0
