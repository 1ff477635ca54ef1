"""A replica's parameters as one flat buffer, and as named weights, without copying.

The order is the state dict's: ``layers.0.weight`` row by row, ``layers.0.bias``, ... A fleet is
then one matrix, (replicas, parameters): cloning, ablating and promoting are row operations.

Shape letters: R replicas, P parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from antifragile.config.architecture import Architecture
from antifragile.config.networks import Network, adding_layers
from antifragile.model.networks import Weights


@dataclass(frozen=True, kw_only=True)
class FlatLayout:
    """The position of each parameter of an architecture in a flat buffer."""

    architecture: Architecture
    n_inputs: int
    n_classes: int
    network: Network = Network.MLP

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Units of every linear layer from input to logits."""
        return self.architecture.layer_sizes(self.n_inputs, self.n_classes, self.network)

    @cached_property
    def adds(self) -> tuple[bool, ...]:
        """For every linear layer, whether the stream two layers below is added to its result."""
        return adding_layers(self.network, self.sizes[1:])

    @property
    def inner_layers(self) -> list[int]:
        """Linear layers whose activations lie inside a residual block."""
        return [layer - 1 for layer, adds in enumerate(self.adds) if adds]

    @property
    def outer_layers(self) -> list[int]:
        """Hidden linear layers that neither lie inside a residual block nor end one."""
        hidden = range(len(self.adds) - 1)
        return [i for i in hidden if not (self.adds[i] or self.adds[i + 1])]

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of every parameter: weight and bias of one linear layer after the other."""
        layers = pairwise(self.sizes)
        return tuple(s for fan_in, fan_out in layers for s in ((fan_out, fan_in), (fan_out,)))

    @cached_property
    def counts(self) -> list[int]:
        """Numbers in every parameter; their sum is P."""
        return [math.prod(shape) for shape in self.shapes]

    @property
    def n_parameters(self) -> int:
        """Number of parameters, P."""
        return sum(self.counts)

    def parameters(self, flat: Tensor) -> list[Tensor]:
        """View every parameter in ``flat`` (..., P), in order, with the same leading dimensions."""
        parts = torch.split(flat, self.counts, dim=-1)
        return [
            torch.unflatten(part, -1, shape) for part, shape in zip(parts, self.shapes, strict=True)
        ]

    def views(self, flat: Tensor) -> Weights:
        """Return the named weights in ``flat`` (P,); they share its memory."""
        layers = range(len(self.sizes) - 1)
        names = [f"layers.{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
        return dict(zip(names, self.parameters(flat), strict=True))

    def flatten(self, weights: Weights, out: Tensor) -> Tensor:
        """Copy named weights into ``out`` (P,) and return it."""
        for name, view in self.views(out).items():
            view.copy_(weights[name])
        return out

    def empty(self, replicas: int, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        """Allocate the weights of a fleet, (R, P), uninitialised."""
        return torch.empty(replicas, self.n_parameters, dtype=dtype, device=device)
