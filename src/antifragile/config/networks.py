"""The kinds of network that an architecture can name, and the parts of a residual one.

In network ``resmlp`` a block ``L*W`` of an architecture is a *run*: a stem, which changes the width
of the stream, and L residual blocks that add to it.

    stem    x = dropout(relu(Linear(previous width, W)(x)))
    block   x = relu(x + Linear(W, W)(dropout(relu(Linear(W, W)(x)))))        L times

A linear head follows the last run, so ``L*W`` has 2L + 2 linear layers. Every run has a stem, even
where its width is that of the inputs; neighbouring blocks of equal width are one run, as
`Architecture` merges them. Linear layers are numbered from 0; those of a run that starts at layer s
are s (stem), s+1 and s+2 (first block), s+3 and s+4 (second block), ...

The neurons that PSA modes choose in such a network:

| mode          | the neuron is drawn                                 | what becomes zero          |
|---------------|-----------------------------------------------------|----------------------------|
| full          | one of the linear layers, then one of its neurons   | incoming weights, bias     |
| hidden        | uniformly among inner neurons (first in their block)| incoming, bias, outgoing   |
| output        | uniformly among the output neurons                  | incoming weights, bias     |
| channel       | uniformly among the channels of all runs            | all that writes or reads it|
| author-hidden | uniformly among all neurons but the first layer's   | incoming, bias, outgoing   |
|               | and the head's                                      | (to the next linear layer) |

Mode ``author-hidden`` is the released code's: it zeroes the outgoing weights in the next linear
layer, so a neuron of a block's second layer, or of a later run's stem, still reaches the stream.

Source: the author of the PSA paper, whose trials of these networks were withdrawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

import numpy as np


class Network(StrEnum):
    """MLP is the paper's network; RESMLP has residual blocks."""

    MLP = "mlp"
    RESMLP = "resmlp"

    def linear_layers(self, layers: int) -> int:
        """Number of linear layers of a block ``layers*width``."""
        return layers if self is Network.MLP else 2 * layers + 1


class BlockNorm(StrEnum):
    """Normalisation of the stream where a residual block reads it.

    NONE: none, as the author has it.
    LAYER: to zero mean and unit sd over the channels of each sample (epsilon 1e-5), without learned
        scale and shift, so that parameters and ablations are the same. One channel alone becomes 0.
    """

    NONE = "none"
    LAYER = "layer"


class Initialiser(StrEnum):
    """The law of fresh weights, drawn layer by layer.

    PYTORCH: weights and biases uniform in +-1/sqrt(fan_in), as ``nn.Linear`` draws them.
    HE: weights normal with sd sqrt(2/fan_in), biases zero (He et al. 2015).
    """

    PYTORCH = "pytorch"
    HE = "he"


@dataclass(frozen=True, kw_only=True)
class ResidualRun:
    """Residual blocks of one width, with the stem before them.

    Args:
        stem: Number of the stem among the linear layers.
        blocks: Number of residual blocks.
        width: Channels of its stream.
    """

    stem: int
    blocks: int
    width: int

    @property
    def inner_layers(self) -> range:
        """The first linear layer of every block."""
        return range(self.stem + 1, self.stem + 2 * self.blocks, 2)


def residual_runs(widths: Sequence[int]) -> list[ResidualRun]:
    """Find the runs of a ResMLP by the widths of its linear layers, the head's last."""
    runs, stem = [], 0
    for width, layers in groupby(widths[:-1]):
        n_layers = len(list(layers))
        runs.append(ResidualRun(stem=stem, blocks=n_layers // 2, width=width))
        stem += n_layers
    return runs


def adding_layers(network: Network, widths: Sequence[int]) -> tuple[bool, ...]:
    """For every linear layer, whether the stream two layers below is added to its result."""
    adds = [False] * len(widths)
    if network is Network.RESMLP:
        for run in residual_runs(widths):
            for layer in run.inner_layers:
                adds[layer + 1] = True
    return tuple(adds)


def hidden_layers(network: Network, widths: Sequence[int]) -> tuple[int, ...]:
    """Linear layers of hidden neurons: all but the head, or in a ResMLP the inner layers."""
    if network is Network.MLP:
        return tuple(range(len(widths) - 1))
    return tuple(layer for run in residual_runs(widths) for layer in run.inner_layers)


def choose_inner(widths: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
    """Draw uniformly among the inner neurons of all blocks."""
    return _uniform([(i, widths[i]) for i in hidden_layers(Network.RESMLP, widths)], rng)


def choose_after_first(widths: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
    """Draw uniformly among the neurons of all linear layers but the first and the last."""
    return _uniform(list(enumerate(widths))[1:-1], rng)


def choose_channel(widths: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
    """Draw uniformly among the channels of all runs: the layer is the stem of the run."""
    return _uniform([(run.stem, run.width) for run in residual_runs(widths)], rng)


def _uniform(layers: Sequence[tuple[int, int]], rng: np.random.Generator) -> tuple[int, int]:
    """Draw uniformly among the neurons of some layers, each given with its width."""
    index = int(rng.integers(sum(width for _, width in layers)))
    for layer, width in layers:
        if index < width:
            return layer, index
        index -= width
    raise AssertionError("the index is below the sum of the widths")
