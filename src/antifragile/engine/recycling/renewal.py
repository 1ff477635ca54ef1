"""The renewal of neurons, as ReDo and SNR have it.

    incoming weights and biases of the chosen neurons = those of a fresh network
    their outgoing weights = 0, so that the new neurons change no output at first
    AdamW's moments of all these entries = 0

Source: Sokar et al. 2023, arXiv 2302.12902, section 4; Farias and Jozefiak 2024, arXiv 2410.20098.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from antifragile.config.networks import Initialiser
from antifragile.config.seeds import SeedTree
from antifragile.model.networks import SimpleMLP, initialise


@torch.no_grad()
def renew_neurons(
    model: SimpleMLP,
    optimizer: torch.optim.Optimizer,
    chosen: Sequence[Tensor],
    *,
    stream: SeedTree,
    law: Initialiser,
) -> None:
    """Draw neurons of a network anew, in place.

    Args:
        model: The network.
        optimizer: Its AdamW, which has made a step.
        chosen: For every hidden layer (W,) bool: the neurons.
        stream: Stream of the fresh weights.
        law: The law of fresh weights.
    """
    if not any(mask.any() for mask in chosen):
        return
    named = dict(model.named_parameters())
    fresh = SimpleMLP(model.architecture, model.sizes[0], model.sizes[-1], dtype=model.dtype)
    initialise(fresh, generator=torch.Generator().manual_seed(stream.key64), law=law)
    fresh.to(named["layers.0.bias"].device)
    drawn = dict(fresh.named_parameters())
    for layer, mask in enumerate(chosen):
        for kind in ("weight", "bias"):
            value = named[f"layers.{layer}.{kind}"]
            value[mask] = drawn[f"layers.{layer}.{kind}"][mask]
            for moment in _moments(optimizer, value):
                moment[mask] = 0
    for layer, mask in enumerate(chosen):  # last: an entry between two chosen neurons is zero
        value = named[f"layers.{layer + 1}.weight"]
        for entries in (value, *_moments(optimizer, value)):
            entries[:, mask] = 0


@torch.no_grad()
def hidden_activations(model: SimpleMLP, images: Tensor) -> list[Tensor]:
    """Activations (B, W) of every hidden layer on a batch (B, Nin)."""
    found: list[Tensor] = []

    def note(_: int, hidden: Tensor) -> Tensor:
        found.append(hidden)
        return hidden

    model(images, note)
    return found


def _moments(optimizer: torch.optim.Optimizer, value: Tensor) -> tuple[Tensor, Tensor]:
    state = optimizer.state[value]
    return state["exp_avg"], state["exp_avg_sq"]
