"""Forward and backward pass of many replicas at once, as batched matrix products.

Shape letters: G groups, M replicas of a group, R = G * M slots, B samples in a batch, d inputs,
V width of a layer, U width of the layer before it, C classes, P parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from antifragile.fleet.torch.dropout import BatchedDropout
from antifragile.fleet.torch.updates import Layout


def forward(
    layout: Layout, weights: Tensor, x: Tensor, dropout: BatchedDropout | None = None
) -> list[Tensor]:
    """Compute the activations of every layer, logits last: each (R, B, V).

    Args:
        layout: Layout of the replicas.
        weights: (R, P).
        x: (G, B, d), one batch per group.
        dropout: Applied after every hidden ReLU.
    """
    n_groups = len(x)
    members, width = len(weights) // n_groups, layout.sizes[1]
    first = layout.weight(weights, 0).reshape(n_groups, members * width, -1)  # (G, M*V, d)
    z = torch.bmm(x, first.transpose(1, 2))  # (G, B, M*V)
    z = torch.unflatten(z, 2, (members, width)).transpose(1, 2).flatten(0, 1)  # (R, B, V)
    z = z + layout.bias(weights, 0)[:, None]
    activations = []
    for layer in range(1, len(layout.sizes) - 1):
        hidden = torch.relu(z)
        if dropout is not None:
            hidden = dropout.apply(layer - 1, hidden)
        activations.append(hidden)
        weight, bias = layout.weight(weights, layer), layout.bias(weights, layer)[:, None]
        z = torch.baddbmm(bias, hidden, weight.transpose(1, 2))  # (R, B, V)
    return [*activations, z]


def backward(
    layout: Layout,
    weights: Tensor,
    x: Tensor,
    activations: list[Tensor],
    gradient: Tensor,
    out: Tensor,
    dropout: BatchedDropout | None,
) -> None:
    """Write the gradients of all parameters to ``out`` (R, P).

    Args:
        layout: Layout of weights and gradients.
        weights: (R, P).
        x: (G, B, d), the batch of each group.
        activations: As `forward` returned them.
        gradient: (R, B, C), of the mean losses by the logits.
        out: (R, P), filled.
        dropout: As in `forward`.
    """
    for layer in range(len(layout.sizes) - 2, 0, -1):
        hidden = activations[layer - 1]  # (R, B, U)
        layout.weight(out, layer).copy_(torch.bmm(gradient.transpose(1, 2), hidden))  # (R, V, U)
        layout.bias(out, layer).copy_(gradient.sum(dim=1))
        below = torch.bmm(gradient, layout.weight(weights, layer))  # (R, B, U)
        if dropout is not None:
            below = dropout.scale(below)
        gradient = below.masked_fill_(hidden <= 0, 0)
    groups, members = len(x), len(weights) // len(x)
    side_by_side = torch.unflatten(gradient, 0, (groups, members)).transpose(2, 3)  # (G, M, V, B)
    first = torch.bmm(side_by_side.flatten(1, 2), x)  # (G, M*V, d)
    layout.weight(out, 0).copy_(torch.unflatten(first, 1, (members, -1)).flatten(0, 1))
    layout.bias(out, 0).copy_(gradient.sum(dim=1))
