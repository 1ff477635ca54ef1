"""SimpleMLP, the paper's network: Linear-ReLU-Dropout blocks and a linear head.

`LinearStack` is what it has in common with `resmlp.ResMLP`: linear layers by number, of which one
neuron is a row of one and a column of the next.

Shape letters: B samples in a batch, Nin inputs, W width of a layer, Nout classes.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from antifragile.config.architecture import Architecture
from antifragile.config.networks import Initialiser, Network

Weights = Mapping[str, Tensor]
"""A network's parameters by name: ``layers.0.weight`` (W, Nin), ``layers.0.bias`` (W,), ..."""


class Dropout(Protocol):
    """Drops activations (B, W) of a hidden linear layer 0, 1, ... and scales the others."""

    def __call__(self, layer: int, hidden: Tensor, *, in_block: bool = False) -> Tensor:
        """Return the dropped activations; ``in_block`` says they lie inside a residual block."""


class LinearStack(nn.Module):
    """Linear layers from inputs to logits, whose parameters are ``layers.0.weight`` and so on.

    Args:
        architecture: The hidden layers.
        n_inputs: Nin, features per sample.
        n_classes: Nout, logits per sample.
        dtype: Type of parameters and activations.

    The parameters are uninitialised until `initialise` or ``load_state_dict``; building a
    network draws nothing from torch's global generator.
    """

    kind: Network

    def __init__(
        self,
        architecture: Architecture,
        n_inputs: int,
        n_classes: int,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.sizes = architecture.layer_sizes(n_inputs, n_classes, self.kind)
        self.layers = nn.ModuleList(
            nn.Linear(*fans, device="meta", dtype=dtype).to_empty(device="cpu")
            for fans in pairwise(self.sizes)
        )

    @property
    def dtype(self) -> torch.dtype:
        """Type of parameters and activations."""
        return next(self.parameters()).dtype

    @abstractmethod
    def forward(self, images: Tensor, dropout: Dropout | None = None) -> Tensor:
        """Map images (B, Nin) to logits (B, Nout)."""


class SimpleMLP(LinearStack):
    """A multi-layer perceptron with ReLU and optional dropout after every hidden layer.

    Source: PSA paper, section II.B, equations 3-5.
    """

    kind = Network.MLP

    def forward(self, images: Tensor, dropout: Dropout | None = None) -> Tensor:
        """Map images (B, Nin) to logits (B, Nout); ``dropout`` acts on each hidden layer."""
        hidden = images
        for index, layer in enumerate(self.layers[:-1]):
            hidden = torch.relu(layer(hidden))  # (B, W)
            if dropout is not None:
                hidden = dropout(index, hidden)
        logits: Tensor = self.layers[-1](hidden)  # (B, Nout)
        return logits


@torch.no_grad()
def initialise(
    model: LinearStack,
    *,
    generator: torch.Generator,
    law: Initialiser = Initialiser.PYTORCH,
) -> None:
    """Draw fresh parameters from ``generator``, layer by layer.

    By PyTorch's law, weights and biases are uniform in +-1/sqrt(fan_in): the same numbers that
    building the same stack of ``nn.Linear`` after ``torch.manual_seed`` would give. By He's law,
    weights are normal with sd sqrt(2/fan_in) and biases zero, in the head like anywhere else.

    Source: for ``he``, He et al. 2015, equation 10.
    """
    for layer in model.layers:
        assert isinstance(layer, nn.Linear)
        if law is Initialiser.HE:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
            continue
        nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
        bound = 1 / math.sqrt(layer.in_features)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def clone_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return a detached copy of the model's parameters, by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
