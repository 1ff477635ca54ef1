"""A replica's parameters as one flat buffer, and as named weights, without copying.

The order is the state dict's: ``layers.0.weight`` row by row, ``layers.0.bias``, ... A fleet is
then one matrix, (replicas, parameters): cloning, ablating and promoting are row operations.

Shape letters: R replicas, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from antifragile.config.architecture import Architecture
from antifragile.model.networks import Weights
from antifragile.model.neurons import AblationTarget


@dataclass(frozen=True, kw_only=True)
class FlatLayout:
    """The position of each parameter of an architecture in a flat buffer."""

    architecture: Architecture
    n_inputs: int
    n_classes: int

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Units from input to logits, length L + 2."""
        return self.architecture.layer_sizes(self.n_inputs, self.n_classes)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Offset of every linear layer, and P at the end: length L + 2."""
        starts = [0]
        for fan_in, fan_out in pairwise(self.sizes):
            starts.append(starts[-1] + fan_out * (fan_in + 1))
        return tuple(starts)

    @property
    def n_parameters(self) -> int:
        """Number of parameters, P."""
        return self.starts[-1]

    def views(self, flat: Tensor) -> Weights:
        """Return the named weights in ``flat`` (P,); they share its memory."""
        named: dict[str, Tensor] = {}
        for layer in range(len(self.sizes) - 1):
            named[f"layers.{layer}.weight"] = self.weight(flat, layer)
            named[f"layers.{layer}.bias"] = self.bias(flat, layer)
        return named

    def weight(self, flat: Tensor, layer: int) -> Tensor:
        """View the weight matrix of one layer in ``flat`` (..., P): (..., fan_out, fan_in)."""
        fan_in, fan_out = self.sizes[layer], self.sizes[layer + 1]
        part = flat[..., self.starts[layer] : self.starts[layer] + fan_out * fan_in]
        return torch.unflatten(part, -1, (fan_out, fan_in))

    def bias(self, flat: Tensor, layer: int) -> Tensor:
        """View the bias of one layer in ``flat`` (..., P): (..., fan_out)."""
        return flat[..., self.starts[layer + 1] - self.sizes[layer + 1] : self.starts[layer + 1]]

    def flatten(self, weights: Weights, out: Tensor) -> Tensor:
        """Copy named weights into ``out`` (P,) and return it."""
        for name, view in self.views(out).items():
            view.copy_(weights[name])
        return out

    def ablate(self, flat: Tensor, target: AblationTarget) -> None:
        """Zero the target's entries of ``flat`` (P,) in place, as `neurons.ablate` in a copy."""
        self.weight(flat, target.layer)[target.neuron].zero_()
        self.bias(flat, target.layer)[target.neuron].zero_()
        if target.ablation.zeroes_outgoing:
            self.weight(flat, target.layer + 1)[:, target.neuron].zero_()

    def empty(self, replicas: int, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        """Allocate the weights of a fleet, (R, P), uninitialised."""
        return torch.empty(replicas, self.n_parameters, dtype=dtype, device=device)
