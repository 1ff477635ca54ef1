"""The meta-loop of residual networks against a plain loop written here, and its checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from antifragile.config.architecture import Architecture
from antifragile.config.networks import Initialiser, Network
from antifragile.config.seeds import dropout_keep_mask
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.checkpoint import load_checkpoint, save_checkpoint, trial_fingerprint
from antifragile.engine.records import Damage
from antifragile.engine.robustness import LEVELS, measure_robustness
from antifragile.engine.trial import TrialState, finish, initial_weights, meta_loops
from antifragile.errors import CheckpointError

MODES = ("none", "decay", "dropout", "full", "hidden", "output", "channel", "author-hidden")


@pytest.fixture
def residual(spec: TrialSpec) -> TrialSpec:
    """Two runs, of two blocks and one, with dropout inside the blocks."""
    training = replace(spec.training, network=Network.RESMLP, block_dropout=0.25)
    return replace(spec, architecture=Architecture.parse("[2*6, 1*4]"), training=training)


def last_state(spec: TrialSpec, data: Dataset) -> TrialState:
    return list(meta_loops(spec, data))[-1][1]


class Drop:
    """The masks of one step, as `config.seeds` keys them."""

    def __init__(self, spec: TrialSpec, step: int) -> None:
        self.stream, self.step = spec.streams().dropout, step
        uses = spec.mode == "dropout"
        self.stem = spec.training.dropout if uses else 0.0
        self.block = spec.training.dropout if uses else spec.training.block_dropout

    def __call__(self, layer: int, hidden: torch.Tensor, p: float) -> torch.Tensor:
        if not p:
            return hidden
        shape = (hidden.shape[0], hidden.shape[1])
        keep = dropout_keep_mask(
            self.stream, meta_loop=1, step=self.step, layer=layer, shape=shape, p=p
        )
        return hidden * torch.from_numpy(keep).float() * (1 / (1 - p))


def plain_logits(linear: list[nn.Linear], x: torch.Tensor, drop: Drop) -> torch.Tensor:
    """The network [2*6, 1*4], written out."""
    x = drop(0, torch.relu(linear[0](x)), drop.stem)
    x = torch.relu(x + linear[2](drop(1, torch.relu(linear[1](x)), drop.block)))
    x = torch.relu(x + linear[4](drop(3, torch.relu(linear[3](x)), drop.block)))
    x = drop(5, torch.relu(linear[5](x)), drop.stem)
    x = torch.relu(x + linear[7](drop(6, torch.relu(linear[6](x)), drop.block)))
    return linear[8](x)


@pytest.mark.parametrize("mode", ["none", "decay", "dropout"])
def test_weights_after_one_epoch_equal_a_plain_autograd_loop(
    mode: str, residual: TrialSpec, tiny: Dataset
) -> None:
    spec = replace(residual, mode=mode, meta_loops=1)
    weights = initial_weights(spec, tiny)
    linear = []
    for index in range(9):
        weight, bias = (weights[f"layers.{index}.{kind}"].clone() for kind in ("weight", "bias"))
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        linear.append(layer)
    optimizer = torch.optim.AdamW(
        nn.ModuleList(linear).parameters(),
        lr=spec.training.learning_rate,
        weight_decay=spec.weight_decay,
    )
    order = spec.streams().order.generator(1).permutation(tiny.train.n_samples)
    size = spec.training.batch_size
    for step in range(-(-len(order) // size)):
        rows = torch.from_numpy(order[step * size : (step + 1) * size])
        logits = plain_logits(linear, tiny.train.images[rows], Drop(spec, step))
        loss = nn.functional.cross_entropy(logits, tiny.train.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    state = last_state(spec, tiny)
    for index, layer in enumerate(linear):
        assert torch.equal(state.lkg.weights[f"layers.{index}.weight"], layer.weight)
        assert torch.equal(state.lkg.weights[f"layers.{index}.bias"], layer.bias)


@pytest.mark.parametrize("mode", MODES)
def test_the_ratchet_holds_and_a_trial_goes_on_with_the_same_bits(
    mode: str, residual: TrialSpec, tiny: Dataset
) -> None:
    spec = replace(residual, mode=mode, meta_loops=6)
    turns = list(meta_loops(spec, tiny))
    bounties = [record.bounty for record, _ in turns]
    assert bounties == sorted(bounties)
    ablates = mode not in ("none", "decay", "dropout")
    assert all((record.ablated_layer is not None) == ablates for record, _ in turns[1:])
    again = list(meta_loops(spec, tiny, start=turns[2][1]))
    weights, expected = again[-1][1].lkg.weights, turns[-1][1].lkg.weights
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    assert finish(spec, tiny, turns[-1][1]).peak_correct == bounties[-1]


def test_block_dropout_acts_in_every_mode_but_dropout(residual: TrialSpec) -> None:
    inside = {mode: replace(residual, mode=mode).block_dropout for mode in MODES}
    assert inside.pop("dropout") == residual.training.dropout
    assert set(inside.values()) == {0.25}
    assert {replace(residual, mode=mode).dropout for mode in inside} == {0.0}


def test_he_starts_from_other_weights_and_no_biases(residual: TrialSpec, tiny: Dataset) -> None:
    training = replace(residual.training, initialisation=Initialiser.HE)
    weights = initial_weights(replace(residual, training=training), tiny)
    assert not any(value.any() for name, value in weights.items() if name.endswith("bias"))
    assert all(value.any() for name, value in weights.items() if name.endswith("weight"))


def test_a_checkpoint_goes_to_no_other_kind_of_network(
    residual: TrialSpec, tiny: Dataset, tmp_path: Path
) -> None:
    state, plain = last_state(replace(residual, meta_loops=1), tiny), replace(residual.training)
    plain = replace(plain, network=Network.MLP, block_dropout=0)
    other = replace(residual, training=plain)
    assert trial_fingerprint(residual, "0") != trial_fingerprint(other, "0")
    save_checkpoint(tmp_path / "x", state, fingerprint="f")
    shape = residual.architecture, (tiny.n_inputs, tiny.n_classes)
    sizes = shape[0].layer_sizes(*shape[1], Network.RESMLP)
    loaded, _ = load_checkpoint(tmp_path / "x", fingerprint="f", layer_sizes=sizes)
    assert loaded.lkg.bounty == state.lkg.bounty
    with pytest.raises(CheckpointError, match="weights of another network"):
        load_checkpoint(
            tmp_path / "x", fingerprint="f", layer_sizes=shape[0].layer_sizes(*shape[1])
        )


def test_lost_neurons_are_those_inside_the_blocks(
    residual: TrialSpec, tiny: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    import antifragile.engine.robustness as robustness

    seen = []
    original = robustness.without_neurons

    def watched(weights, widths, share: float, rng: np.random.Generator):
        seen.append(dict(widths))
        return original(weights, widths, share, rng)

    monkeypatch.setattr(robustness, "without_neurons", watched)
    records = measure_robustness(residual, tiny, last_state(residual, tiny).lkg.weights)
    assert len(records) == 5 * sum(map(len, LEVELS.values()))
    assert {record.damage for record in records} == set(Damage)
    assert {tuple(item.items()) for item in seen} == {((1, 6), (3, 6), (6, 4))}
