"""Damage after training: what is stated is done, the same for all modes, and nothing else."""

from dataclasses import replace

import numpy as np
import torch

from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.records import Damage
from antifragile.engine.robustness import (
    DRAWS,
    LEVELS,
    measure_robustness,
    with_noise,
    without_neurons,
)
from antifragile.engine.trial import initial_weights, meta_loops
from antifragile.model.networks import SimpleMLP


def test_every_kind_level_and_draw_is_measured(spec: TrialSpec, tiny: Dataset) -> None:
    records = measure_robustness(spec, tiny, initial_weights(spec, tiny))
    expected = [
        (damage, level, draw)
        for damage, levels in LEVELS.items()
        for level in levels
        for draw in range(1, DRAWS + 1)
    ]
    assert [(r.damage, r.level, r.draw) for r in records] == expected
    assert all(0 <= record.test_correct <= tiny.test.n_samples for record in records)


def test_all_modes_of_a_trial_get_the_same_damage(spec: TrialSpec, tiny: Dataset) -> None:
    weights = initial_weights(spec, tiny)
    mine = measure_robustness(spec, tiny, weights)
    assert measure_robustness(replace(spec, mode="output"), tiny, weights) == mine
    assert measure_robustness(replace(spec, trial=2), tiny, weights) != mine


def test_more_damage_hurts_a_trained_network(spec: TrialSpec, tiny: Dataset) -> None:
    *_, (_, state) = meta_loops(replace(spec, meta_loops=30), tiny)
    records = measure_robustness(spec, tiny, state.lkg.weights)

    def mean(damage: Damage, level: float) -> float:
        return float(
            np.mean([r.test_correct for r in records if (r.damage, r.level) == (damage, level)])
        )

    for damage in (Damage.WEIGHT_NOISE, Damage.INPUT_NOISE):
        assert mean(damage, LEVELS[damage][0]) > mean(damage, LEVELS[damage][-1])


def test_removed_neurons_say_nothing_and_the_rest_is_untouched(
    spec: TrialSpec, tiny: Dataset
) -> None:
    weights = initial_weights(spec, tiny)
    widths = dict(enumerate(spec.architecture.hidden_widths))
    damaged = without_neurons(weights, widths, 0.5, np.random.default_rng(0))
    dead = 0
    for layer, width in widths.items():
        name = f"layers.{layer + 1}.weight"
        silent = (damaged[name] == 0).all(dim=0)
        dead += int(silent.sum())
        assert len(silent) == width
        assert torch.equal(damaged[name][:, ~silent], weights[name][:, ~silent])
    assert dead == round(0.5 * sum(widths.values()))
    assert torch.equal(damaged["layers.0.weight"], weights["layers.0.weight"])


def test_at_least_one_neuron_is_removed(spec: TrialSpec, tiny: Dataset) -> None:
    weights = initial_weights(spec, tiny)
    widths = dict(enumerate(spec.architecture.hidden_widths))
    damaged = without_neurons(weights, widths, 0.001, np.random.default_rng(0))
    changed = [name for name in weights if not torch.equal(damaged[name], weights[name])]
    assert len(changed) == 1


def test_weight_noise_has_the_stated_size() -> None:
    from antifragile.config.architecture import Architecture

    model = SimpleMLP(Architecture.parse("1*400"), 300, 4)
    torch.nn.init.constant_(model.layers[0].weight, 2.0)
    weights = {name: value.detach() for name, value in model.named_parameters()}
    noisy = with_noise(weights, 0.1, np.random.default_rng(0))
    noise = noisy["layers.0.weight"] - weights["layers.0.weight"]
    assert abs(float(noise.std()) - 0.2) < 0.002
