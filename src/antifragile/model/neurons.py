"""Ablation of one neuron of our networks: choose a target, zero its entries.

Which neuron a mode chooses, and whether its outgoing weights are zeroed too, says
`config.modes.Ablation`.

Source: PSA paper, sections II.D and II.F, and its released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from antifragile.config.modes import Ablation
from antifragile.model.networks import Weights


@dataclass(frozen=True, kw_only=True)
class AblationTarget:
    """One neuron: its linear layer (0-based, L is the output layer) and its index in it."""

    ablation: Ablation
    layer: int
    neuron: int


def choose_target(
    ablation: Ablation, layer_sizes: Sequence[int], *, rng: np.random.Generator
) -> AblationTarget:
    """Draw the neuron to ablate.

    Args:
        ablation: The mode's way to choose.
        layer_sizes: Units from input to logits, length L + 2.
        rng: The trial's ablation stream at this meta-loop.

    Raises:
        UsageError: ``hidden`` without a hidden layer.
    """
    layer, neuron = ablation.choose(layer_sizes[1:], rng)
    return AblationTarget(ablation=ablation, layer=layer, neuron=neuron)


def ablate(weights: Weights, target: AblationTarget) -> None:
    """Zero the target's entries of ``weights``."""
    weights[f"layers.{target.layer}.weight"][target.neuron] = 0
    weights[f"layers.{target.layer}.bias"][target.neuron] = 0
    if target.ablation.zeroes_outgoing:
        weights[f"layers.{target.layer + 1}.weight"][:, target.neuron] = 0
