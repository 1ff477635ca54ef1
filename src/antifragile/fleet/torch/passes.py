"""Forward and backward pass of many replicas at once, as batched matrix products.

``adds`` says of every linear layer whether the activations two layers below are added to its result
before the ReLU, as in the second layer of a residual block (`FlatLayout.adds`).

Shape letters: G groups, M replicas of a group, R = G * M slots, B samples in a batch, d inputs,
V width of a layer, U width of the layer before it, C classes, P parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from antifragile.fleet.torch.dropout import BatchedDropout


def forward(
    parameters: Sequence[Tensor],
    x: Tensor,
    adds: Sequence[bool],
    dropout: Mapping[int, BatchedDropout],
) -> list[Tensor]:
    """Compute the activations of every layer, logits last: each (R, B, V).

    Args:
        parameters: Weight (R, V, U) and bias (R, V) of one layer after the other.
        x: (G, B, d), one batch per group.
        adds: By linear layer.
        dropout: Applied after the ReLU of these linear layers.
    """
    (weight, bias), *trunk = zip(parameters[::2], parameters[1::2], strict=True)
    n_groups, width = len(x), weight.shape[1]
    members = len(weight) // n_groups
    first = weight.reshape(n_groups, members * width, -1)  # (G, M*V, d)
    z = torch.bmm(x, first.transpose(1, 2))  # (G, B, M*V)
    z = torch.unflatten(z, 2, (members, width)).transpose(1, 2).flatten(0, 1)  # (R, B, V)
    z = z + bias[:, None]
    activations: list[Tensor] = []
    for number, (weight, bias) in enumerate(trunk):
        hidden = torch.relu(z + activations[number - 2] if adds[number] else z)
        if number in dropout:
            hidden = dropout[number].apply(number, hidden)
        activations.append(hidden)
        z = torch.baddbmm(bias[:, None], hidden, weight.transpose(1, 2))  # (R, B, V)
    return [*activations, z]


def backward(
    parameters: Sequence[Tensor],
    x: Tensor,
    activations: Sequence[Tensor],
    gradient: Tensor,
    out: Sequence[Tensor],
    adds: Sequence[bool],
    dropout: Mapping[int, BatchedDropout],
) -> None:
    """Write the gradients of all parameters to ``out``.

    Args:
        parameters: As in `forward`.
        x: (G, B, d), the batch of each group.
        activations: As `forward` returned them.
        gradient: (R, B, C), of the mean losses by the logits.
        out: Filled; the shapes of ``parameters``.
        adds: As in `forward`.
        dropout: As in `forward`.
    """
    above = gradient  # of the layer above the one at hand
    for layer in range(len(activations) - 1, 0, -1):
        hidden = activations[layer - 1]  # (R, B, U)
        out[2 * layer].copy_(torch.bmm(gradient.transpose(1, 2), hidden))  # (R, V, U)
        out[2 * layer + 1].copy_(gradient.sum(dim=1))
        below = torch.bmm(gradient, parameters[2 * layer])  # (R, B, U)
        if layer + 1 < len(adds) and adds[layer + 1]:
            below = below.add_(above)
        if layer - 1 in dropout:
            below = dropout[layer - 1].scale(below)
        above, gradient = gradient, below.masked_fill_(hidden <= 0, 0)
    groups, members = len(x), len(gradient) // len(x)
    side_by_side = torch.unflatten(gradient, 0, (groups, members)).transpose(2, 3)  # (G, M, V, B)
    first = torch.bmm(side_by_side.flatten(1, 2), x)  # (G, M*V, d)
    out[0].copy_(torch.unflatten(first, 1, (members, -1)).flatten(0, 1))
    out[1].copy_(gradient.sum(dim=1))
