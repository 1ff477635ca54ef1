"""Kinds of damage: which entries change, by how much, and that all others stay."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from antifragile.config.modes import get_mode
from antifragile.config.modifiers.records import DamageKind
from antifragile.model.damage import damage, hit_entries
from antifragile.model.networks import Weights
from antifragile.model.neurons import AblationTarget

SIZES = (5, 4, 3, 2)


def network(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for layer, (fan_in, fan_out) in enumerate(pairwise(SIZES)):
        weights[f"layers.{layer}.weight"] = torch.randn(fan_out, fan_in, generator=generator)
        weights[f"layers.{layer}.bias"] = torch.randn(fan_out, generator=generator)
    return weights


def targets(mode: str, *neurons: tuple[int, int]) -> list[AblationTarget]:
    ablation = get_mode(mode).ablation
    assert ablation is not None
    return [AblationTarget(ablation=ablation, layer=a, neuron=b) for a, b in neurons]


HIT = targets("hidden", (0, 1), (1, 2))  # they share one entry: layers.1.weight[2, 1]
N_HIT = (5 + 1 + 3) + (4 + 1 + 2) - 1


def damaged(kind: DamageKind, hit=HIT, seed: int = 0) -> tuple[Weights, Weights, Weights]:
    """The network before and after, and the entries that are said to be damaged."""
    before, after = network(1), network(1)
    rng = np.random.default_rng(seed)
    masks = damage(after, hit, kind, rng=rng, fresh=lambda: network(2))
    return before, after, masks


def flat(weights: Weights) -> torch.Tensor:
    return torch.cat([value.flatten() for value in weights.values()])


def test_the_entries_of_several_neurons_are_counted_once() -> None:
    assert int(flat(hit_entries(network(1), HIT)).sum()) == N_HIT


@pytest.mark.parametrize("kind", list(DamageKind))
def test_all_other_entries_stay_and_nothing_else_is_reported(kind: DamageKind) -> None:
    before, after, masks = map(flat, damaged(kind))
    assert torch.equal(before != after, masks)
    assert int(masks.sum()) == N_HIT


def test_zero_is_zero() -> None:
    _, after, masks = map(flat, damaged(DamageKind.ZERO))
    assert (after[masks] == 0).all()


def test_noise_has_the_norm_of_what_an_ablation_would_have_removed() -> None:
    before, after, masks = map(flat, damaged(DamageKind.NOISE))
    noise = (after - before)[masks]
    assert float(noise.norm()) == pytest.approx(float(before[masks].norm()), rel=1e-6)
    other = (flat(damaged(DamageKind.NOISE, seed=1)[1]) - before)[masks]
    assert abs(float(torch.dot(noise, other) / noise.norm() ** 2)) < 0.9


def test_noise_on_a_dead_neuron_changes_nothing() -> None:
    weights = network(1)
    damage(weights, HIT, DamageKind.ZERO, rng=np.random.default_rng(0), fresh=dict)
    dead = {name: value.clone() for name, value in weights.items()}
    damage(weights, HIT, DamageKind.NOISE, rng=np.random.default_rng(0), fresh=dict)
    assert torch.equal(flat(weights), flat(dead))


@pytest.mark.parametrize("mode", ["full", "hidden"])
def test_reinit_draws_incoming_weights_anew_and_zeroes_what_the_mode_zeroes(mode: str) -> None:
    before, after, _ = damaged(DamageKind.REINIT, targets(mode, (0, 1)))
    fresh = network(2)
    for part in ("weight", "bias"):
        assert torch.equal(after[f"layers.0.{part}"][1], fresh[f"layers.0.{part}"][1])
    outgoing = after["layers.1.weight"][:, 1]
    expected = 0 * outgoing if mode == "hidden" else before["layers.1.weight"][:, 1]
    assert torch.equal(outgoing, expected)


def test_scattered_zeroes_as_many_entries_anywhere() -> None:
    found = torch.zeros(len(flat(network(1))))
    for seed in range(300):
        _, after, masks = map(flat, damaged(DamageKind.SCATTERED, seed=seed))
        assert (after[masks] == 0).all()
        found += masks
    share = N_HIT / len(found)
    assert float((found / 300 - share).abs().max()) < 0.15
