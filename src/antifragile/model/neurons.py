"""Ablation of one neuron or channel of our networks: choose a target, zero its entries.

Which neuron a mode chooses, and whether its outgoing weights are zeroed too, says
`config.modes.Ablation`.

Source: PSA paper, sections II.D and II.F, and its released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from antifragile.config.modes import Ablation
from antifragile.config.networks import residual_runs
from antifragile.model.networks import Weights


@dataclass(frozen=True, kw_only=True)
class AblationTarget:
    """One neuron, or one channel of a residual stream.

    Args:
        ablation: The mode's way to choose, and how much becomes zero.
        layer: Its linear layer (0-based, the last is the output layer).
        neuron: Its index in that layer.
        blocks: Number of residual blocks after that layer whose share in the channel goes, too.
    """

    ablation: Ablation
    layer: int
    neuron: int
    blocks: int = 0


def target_at(ablation: Ablation, widths: Sequence[int], layer: int, neuron: int) -> AblationTarget:
    """Make the target of a neuron that was chosen.

    Args:
        ablation: The mode's way to choose.
        widths: Neurons of every linear layer, the output layer last.
        layer: Its linear layer.
        neuron: Its index in that layer.
    """
    blocks = 0
    if ablation.whole_channel:
        blocks = next(run.blocks for run in residual_runs(widths) if run.stem == layer)
    return AblationTarget(ablation=ablation, layer=layer, neuron=neuron, blocks=blocks)


def ablate(weights: Weights, target: AblationTarget) -> None:
    """Zero the target's entries of ``weights``."""
    for layer in range(target.layer, target.layer + 2 * target.blocks + 1, 2):
        weights[f"layers.{layer}.weight"][target.neuron] = 0
        weights[f"layers.{layer}.bias"][target.neuron] = 0
        if target.ablation.zeroes_outgoing:
            weights[f"layers.{layer + 1}.weight"][:, target.neuron] = 0
