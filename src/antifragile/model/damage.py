"""Damage to a network: the change of the entries that the ablation of some neurons names.

The entries are found by ablating a network of ones, so whatever `neurons.ablate` zeroes is what
noise is added to, what is drawn anew, and how many single weights are scattered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from antifragile.config.modifiers.records import DamageKind
from antifragile.model.networks import Weights
from antifragile.model.neurons import AblationTarget, ablate

Masks = dict[str, Tensor]
"""For every parameter, which of its entries are meant: bool, of its shape."""


@torch.no_grad()
def damage(
    weights: Weights,
    targets: Sequence[AblationTarget],
    kind: DamageKind,
    *,
    rng: np.random.Generator,
    fresh: Callable[[], Weights],
) -> Masks:
    """Damage a network in place, and return the entries that were damaged.

    Args:
        weights: The network.
        targets: The neurons that are hit.
        kind: The change of their entries.
        rng: The trial's ablation stream, as the choice of the targets left it.
        fresh: Draws a fresh network, for the kind that needs one.
    """
    hit = hit_entries(weights, targets)
    incoming = hit_entries(weights, [_incoming(target) for target in targets])
    return damage_entries(weights, hit, incoming, kind, rng=rng, fresh=fresh)


@torch.no_grad()
def damage_entries(
    weights: Weights,
    hit: Masks,
    incoming: Masks,
    kind: DamageKind,
    *,
    rng: np.random.Generator,
    fresh: Callable[[], Weights],
) -> Masks:
    """Damage entries of a network in place, and return those that were damaged.

    Args:
        weights: The network.
        hit: The entries that an ablation zeroes.
        incoming: Those of them that come in.
        kind: The change of the entries.
        rng: The stream that draws it.
        fresh: Draws a fresh network, for the kind that needs one.
    """
    masks = scattered_entries(weights, hit, rng=rng) if kind is DamageKind.SCATTERED else hit
    if kind is DamageKind.NOISE:
        _add_noise(weights, masks, rng)
    else:
        for name, mask in masks.items():
            weights[name][mask] = 0
    if kind is DamageKind.REINIT:
        drawn = fresh()
        for name, mask in incoming.items():
            weights[name][mask] = drawn[name].to(weights[name])[mask]
    return masks


def _incoming(target: AblationTarget) -> AblationTarget:
    """The same neuron without its outgoing weights."""
    return replace(target, ablation=replace(target.ablation, zeroes_outgoing=False))


def hit_entries(weights: Weights, targets: Sequence[AblationTarget]) -> Masks:
    """Find the entries that ablating these neurons would zero."""
    ones = {name: torch.ones_like(value, dtype=torch.bool) for name, value in weights.items()}
    for target in targets:
        ablate(ones, target)
    return {name: ~value for name, value in ones.items()}


def scattered_entries(weights: Weights, hit: Masks, *, rng: np.random.Generator) -> Masks:
    """Draw as many entries, anywhere in the network, as are hit."""
    number = sum(int(mask.sum()) for mask in hit.values())
    sizes = [value.numel() for value in weights.values()]
    chosen = rng.choice(sum(sizes), size=number, replace=False, shuffle=False)
    flat = torch.zeros(sum(sizes), dtype=torch.bool)
    flat[torch.from_numpy(chosen)] = True
    parts = zip(weights.items(), torch.split(flat, sizes), strict=True)
    return {name: part.view(value.shape).to(value.device) for (name, value), part in parts}


def _add_noise(weights: Weights, masks: Masks, rng: np.random.Generator) -> None:
    """Add Gaussian noise to some entries, of the norm that these entries have together."""
    hit = {name: weights[name][mask].double().cpu() for name, mask in masks.items()}
    drawn = {name: torch.from_numpy(rng.standard_normal(len(v))) for name, v in hit.items()}
    norm, drawn_norm = (
        torch.stack([value.square().sum() for value in values.values()]).sum().sqrt()
        for values in (hit, drawn)
    )
    for name, mask in masks.items():
        noise = drawn[name] * (norm / drawn_norm)
        weights[name][mask] += noise.to(weights[name])
