"""Values by which neurons are ranked: magnitude, activation, gradient; one array per layer.

All are computed in float64 on the CPU from a copy of the network, so that two trainers with the
same weights rank alike.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from antifragile.config.modifiers.grammar import needs_data
from antifragile.config.modifiers.records import NeuronRank
from antifragile.data.splits import Split
from antifragile.model.networks import SimpleMLP, Weights

RANKED_SAMPLES = 256
"""The first training samples, on which activations and gradients are measured."""


@torch.enable_grad()
def neuron_values(
    rank: NeuronRank, weights: Weights, model: SimpleMLP, train: Split
) -> list[np.ndarray]:
    """Measure every neuron.

    Args:
        rank: The order that is asked for.
        weights: The network.
        model: A network of this shape in float64 on the CPU, which is overwritten.
        train: Training samples, of which the first `RANKED_SAMPLES` are used.

    Returns:
        A value for each neuron of every linear layer, the output layer last.
    """
    model.load_state_dict({name: value.double().cpu() for name, value in weights.items()})
    incoming = [value for name, value in model.named_parameters() if name.endswith("weight")]
    if not needs_data(rank):
        return [_norms(value.detach()) for value in incoming]
    images = train.images[:RANKED_SAMPLES].double().cpu()
    if rank.endswith("gradient"):
        model.zero_grad()
        labels = train.labels[:RANKED_SAMPLES].cpu()
        torch.autograd.backward(cross_entropy(model(images), labels))  # logits (B, Nout)
        return [_norms(value.grad) for value in incoming if value.grad is not None]
    return _activations(model, images)


def _norms(incoming: torch.Tensor) -> np.ndarray:
    norms: np.ndarray = incoming.norm(dim=1).numpy()
    return norms


@torch.no_grad()
def _activations(model: SimpleMLP, images: torch.Tensor) -> list[np.ndarray]:
    """Mean absolute activation of every hidden neuron, and of every logit."""
    found: list[np.ndarray] = []

    def note(layer: int, hidden: torch.Tensor) -> torch.Tensor:
        found.append(hidden.abs().mean(dim=0).numpy())
        return hidden

    logits = model(images, note)
    return [*found, logits.abs().mean(dim=0).numpy()]
