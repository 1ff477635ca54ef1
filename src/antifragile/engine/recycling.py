"""ReDo, a rival of PSA: hidden neurons that hardly fire are drawn anew while the network trains.

    every F updates, on the batch of the update:
        for each hidden layer: dormant = mean |activation| <= tau * mean of the layer
        incoming weights and biases of dormant neurons = those of a fresh network
        outgoing weights of dormant neurons = 0
        AdamW's moments of all these entries = 0

Updates are counted over all meta-loops of a trial, so that F may be longer than an epoch.

Source: Sokar et al. 2023, "The Dormant Neuron Phenomenon in Deep Reinforcement Learning",
arXiv 2302.12902, section 4, with F = 1000 and tau = 0.025.
"""

from __future__ import annotations

import torch
from torch import Tensor

from antifragile.config.modifiers.records import DORMANT_SHARE
from antifragile.config.seeds import SeedTree
from antifragile.model.networks import SimpleMLP, initialise


@torch.no_grad()
def recycle_dormant(
    model: SimpleMLP, optimizer: torch.optim.Optimizer, images: Tensor, *, stream: SeedTree
) -> int:
    """Draw the dormant hidden neurons of a network anew, in place.

    Args:
        model: The network.
        optimizer: Its AdamW.
        images: (B, Nin), the batch on which activations are measured.
        stream: Stream of the fresh weights, of this update alone.

    Returns:
        Number of dormant neurons.
    """
    dormant = _dormant(model, images)
    n_dormant = sum(int(mask.sum()) for mask in dormant)
    if not n_dormant:
        return 0
    named = dict(model.named_parameters())
    n_classes = len(named[f"layers.{len(dormant)}.bias"])
    fresh = SimpleMLP(model.architecture, images.shape[1], n_classes, dtype=model.dtype)
    initialise(fresh, generator=torch.Generator().manual_seed(stream.key64))
    fresh.to(images.device)
    drawn = dict(fresh.named_parameters())
    for layer, mask in enumerate(dormant):
        for kind in ("weight", "bias"):
            value = named[f"layers.{layer}.{kind}"]
            value[mask] = drawn[f"layers.{layer}.{kind}"][mask]
            for moment in _moments(optimizer, value):
                moment[mask] = 0
    for layer, mask in enumerate(dormant):  # last: an entry between two dormant neurons is zero
        value = named[f"layers.{layer + 1}.weight"]
        for entries in (value, *_moments(optimizer, value)):
            entries[:, mask] = 0
    return n_dormant


def _dormant(model: SimpleMLP, images: Tensor) -> list[Tensor]:
    """Find the dormant neurons of every hidden layer: (W,) bool."""
    found: list[Tensor] = []

    def note(_: int, hidden: Tensor) -> Tensor:
        means = hidden.abs().mean(dim=0)  # (W,)
        found.append(means <= DORMANT_SHARE * means.mean())
        return hidden

    model(images, note)
    return found


def _moments(optimizer: torch.optim.Optimizer, value: Tensor) -> tuple[Tensor, Tensor]:
    state = optimizer.state[value]
    return state["exp_avg"], state["exp_avg_sq"]
