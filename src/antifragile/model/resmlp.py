"""ResMLP: stems and residual blocks of linear layers, and the choice between it and SimpleMLP.

Shape letters: B samples in a batch, Nin inputs, W width of a run, Nout classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from antifragile.config.architecture import Architecture
from antifragile.config.networks import BlockNorm, Network, adding_layers
from antifragile.config.specs.training import TrainingOptions
from antifragile.model.networks import Dropout, LinearStack, SimpleMLP


class ResMLP(LinearStack):
    """A multi-layer perceptron of residual blocks.

    A stem ``x = dropout(relu(Linear(x)))`` begins every run of equal widths, L blocks
    ``x = relu(x + Linear(dropout(relu(Linear(x)))))`` follow, and a linear head comes last.

    Note:
        Dropout masks are keyed by the number of the linear layer before them. The author has no
        normalisation; with ``block_norm`` the stream is normalised where a block reads it.

    Source: the author of the PSA paper; see `config.networks`.
    """

    kind = Network.RESMLP
    block_norm = BlockNorm.NONE

    def forward(self, images: Tensor, dropout: Dropout | None = None) -> Tensor:
        """Map images (B, Nin) to logits (B, Nout); ``dropout`` acts after stems and in blocks."""
        adds = adding_layers(self.kind, self.sizes[1:])
        stream = hidden = images
        for index, layer in enumerate(self.layers[:-1]):
            in_block = adds[index + 1]
            if in_block and self.block_norm is BlockNorm.LAYER:
                hidden = layer_norm(hidden, hidden.shape[1:])
            hidden = layer(hidden)  # (B, W)
            if adds[index]:
                stream = hidden = torch.relu(stream + hidden)
                continue
            hidden = torch.relu(hidden)
            if dropout is not None:
                hidden = dropout(index, hidden, in_block=in_block)
            if not in_block:
                stream = hidden
        logits: Tensor = self.layers[-1](hidden)  # (B, Nout)
        return logits


def make_network(
    options: TrainingOptions,
    architecture: Architecture,
    n_inputs: int,
    n_classes: int,
    *,
    dtype: torch.dtype = torch.float32,
) -> LinearStack:
    """Build the uninitialised network of some options; the other arguments are `LinearStack`'s."""
    if options.network is Network.MLP:
        return SimpleMLP(architecture, n_inputs, n_classes, dtype=dtype)
    network = ResMLP(architecture, n_inputs, n_classes, dtype=dtype)
    network.block_norm = options.block_norm
    return network
