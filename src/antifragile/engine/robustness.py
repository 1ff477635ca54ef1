"""Test accuracy of a trained network under three kinds of damage.

- hidden-neurons: the outgoing weights of a share of all hidden neurons are zeroed (in a ResMLP, of
  the inner neurons of its blocks);
- weight-noise: Gaussian noise on every parameter, its sd in units of the layer's weight RMS;
- input-noise: Gaussian noise on every pixel, its sd in units of the training images' sd.

Every draw comes from a stream keyed by (seed, architecture, trial) alone, so that all modes of a
trial lose the same neurons and get the same noise: differences between modes are paired.

The paper claims robust networks but does not measure robustness.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from antifragile.config.networks import hidden_layers
from antifragile.config.seeds import SeedTree
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset, Split
from antifragile.engine.epoch import count_correct, exact_numerics
from antifragile.engine.records import Damage, RobustnessRecord
from antifragile.model.networks import LinearStack, Weights
from antifragile.model.resmlp import make_network

DRAWS = 5

LEVELS: dict[Damage, tuple[float, ...]] = {
    Damage.HIDDEN_NEURONS: (0.01, 0.02, 0.05, 0.1, 0.2),
    Damage.WEIGHT_NOISE: (0.1, 0.2, 0.5, 1.0),
    Damage.INPUT_NOISE: (0.25, 0.5, 1.0, 2.0),
}
"""Levels of each kind; a share of neurons is rounded, to at least one neuron."""


def measure_robustness(
    spec: TrialSpec, data: Dataset, weights: Weights, *, threads: int = 1
) -> tuple[RobustnessRecord, ...]:
    """Test a network under every kind, level and draw of damage.

    Args:
        spec: The trial; names the streams.
        data: Its data set; only the test split is used, and the training images' sd.
        weights: The LKG at the end.
        threads: Threads of torch inside.
    """
    stream = SeedTree(spec.seed).child(spec.architecture.name, spec.trial, "robustness")
    shape, dtype = (data.n_inputs, data.n_classes), weights["layers.0.bias"].dtype
    model = make_network(spec.training, spec.architecture, *shape, dtype=dtype)
    model.to(data.test.images.device)
    records = []
    with exact_numerics(threads), torch.no_grad():
        for damage, levels in LEVELS.items():
            for step, level in enumerate(levels):
                for draw in range(1, DRAWS + 1):
                    rng = stream.child(damage.value).generator(draw, step)
                    correct = _count_damaged(model, data, weights, damage, level, rng)
                    records.append(
                        RobustnessRecord(
                            damage=damage, level=level, draw=draw, test_correct=correct
                        )
                    )
    return tuple(records)


def _count_damaged(
    model: LinearStack,
    data: Dataset,
    weights: Weights,
    damage: Damage,
    level: float,
    rng: np.random.Generator,
) -> int:
    test = data.test
    if damage is Damage.HIDDEN_NEURONS:
        widths = {i: model.sizes[i + 1] for i in hidden_layers(model.kind, model.sizes[1:])}
        weights = without_neurons(weights, widths, level, rng)
    elif damage is Damage.WEIGHT_NOISE:
        weights = with_noise(weights, level, rng)
    else:
        scale = level * float(data.train.images.std())
        test = Split(test.images + scale * _normal(test.images, rng), test.labels)
    model.load_state_dict(dict(weights))
    return count_correct(model, test)


def without_neurons(
    weights: Weights, widths: Mapping[int, int], share: float, rng: np.random.Generator
) -> Weights:
    """Zero the outgoing weights of a random share of all hidden neurons, at least one.

    Args:
        weights: The network's; they stay as they are.
        widths: Neurons of each hidden linear layer, by its number.
        share: Share of them.
        rng: The stream of the draw.
    """
    n_neurons = sum(widths.values())
    is_chosen = torch.zeros(n_neurons, dtype=torch.bool)
    is_chosen[rng.permutation(n_neurons)[: max(1, round(share * n_neurons))]] = True
    damaged = dict(weights)
    split = torch.split(is_chosen, list(widths.values()))
    for layer, neurons in zip(widths, split, strict=True):
        name = f"layers.{layer + 1}.weight"
        damaged[name] = weights[name].masked_fill(neurons.to(weights[name].device), 0)
    return damaged


def with_noise(weights: Weights, level: float, rng: np.random.Generator) -> Weights:
    """Add Gaussian noise to every parameter, its sd a multiple of the layer's weight RMS."""
    damaged = {}
    for name, value in weights.items():
        rms = float(weights[name.replace("bias", "weight")].square().mean().sqrt())
        damaged[name] = value + level * rms * _normal(value, rng)
    return damaged


def _normal(like: Tensor, rng: np.random.Generator) -> Tensor:
    drawn = rng.standard_normal(tuple(like.shape), dtype=np.float32)
    return torch.from_numpy(drawn).to(like.device, like.dtype)
