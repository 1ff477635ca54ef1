"""SimpleMLP, the paper's network: Linear-ReLU-Dropout blocks and a linear head.

Shape letters: B samples in a batch, Nin inputs, W width of a layer, Nout classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from antifragile.config.architecture import Architecture

Weights = Mapping[str, Tensor]
"""A network's parameters by name: ``layers.0.weight`` (W, Nin), ``layers.0.bias`` (W,), ..."""

Dropout = Callable[[int, Tensor], Tensor]
"""Applied to the activations (B, W) of hidden layer 0, 1, ...; returns them dropped and scaled."""


class SimpleMLP(nn.Module):
    """A multi-layer perceptron with ReLU and optional dropout after every hidden layer.

    Args:
        architecture: The hidden layers.
        n_inputs: Nin, features per sample.
        n_classes: Nout, logits per sample.
        dtype: Type of parameters and activations.

    The parameters are uninitialised until `initialise` or ``load_state_dict``; building a
    network draws nothing from torch's global generator.

    Source: PSA paper, section II.B, equations 3-5.
    """

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
        sizes = architecture.layer_sizes(n_inputs, n_classes)
        self.layers = nn.ModuleList(
            nn.Linear(*fans, device="meta", dtype=dtype).to_empty(device="cpu")
            for fans in pairwise(sizes)
        )

    @property
    def dtype(self) -> torch.dtype:
        """Type of parameters and activations."""
        return next(self.parameters()).dtype

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
def initialise(model: SimpleMLP, *, generator: torch.Generator) -> None:
    """Draw PyTorch's default nn.Linear initialisation from ``generator``, layer by layer.

    Weights and biases are uniform in +-1/sqrt(fan_in): the same numbers that building the
    same stack of ``nn.Linear`` after ``torch.manual_seed`` would give.
    """
    for layer in model.layers:
        assert isinstance(layer, nn.Linear)
        nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
        bound = 1 / math.sqrt(layer.in_features)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def clone_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return a detached copy of the model's parameters, by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
