"""Multi-layer perceptrons of many seeds as one network, and their batches.

Every parameter has a leading dimension of R replicas, so ten seeds cost little more than one:
`torch.bmm` does the arithmetic of all of them, and the replicas never meet. Replica r draws its
initial weights and its batch order from seed r alone, so a replica is the run of that seed. Behind
the replica dimension, weights have the shape of `torch.nn.Linear`'s.

Shape letters: R replicas, B samples in a batch, N samples, Nin inputs, Nout classes, W width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from antifragile.config.seeds import SeedTree
from antifragile.data.splits import Split

_EVALUATION_BATCH = 2000


class Initialisation(StrEnum):
    """Initial weights; biases begin at zero, with PyTorch's default they are drawn as well.

    ZERO: all zero.
    SIMPLE: N(0, 0.1^2).
    HE: N(0, 2 / fan_in).
    TORCH: uniform within 1 / sqrt(fan_in), nn.Linear's default.
    """

    ZERO = "zero"
    SIMPLE = "simple"
    HE = "he"
    TORCH = "torch"


class ReplicaMLP(nn.Module):
    """R perceptrons with ReLU in one module.

    Args:
        sizes: Nin, widths, Nout.
        seeds: One per replica.
        initialisation: Law of the initial weights.
        dropout: Share of hidden activations dropped in training mode.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        seeds: Sequence[int],
        initialisation: Initialisation = Initialisation.TORCH,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        generators = [stream(seed, "init") for seed in seeds]
        pairs = list(pairwise(sizes))
        drawn = [[_draw(initialisation, a, b, g) for a, b in pairs] for g in generators]
        weights, biases = ([[layer[k] for layer in one] for one in drawn] for k in (0, 1))
        self.weights = nn.ParameterList(torch.stack(same) for same in zip(*weights, strict=True))
        self.biases = nn.ParameterList(torch.stack(same) for same in zip(*biases, strict=True))
        self.dropout = dropout
        self._dropout_stream = stream(seeds[0], "dropout")

    @property
    def replicas(self) -> int:
        """Number of replicas, R."""
        return len(self.weights[0])

    def forward(self, images: Tensor) -> Tensor:
        """Map images (R, B, Nin) to logits (R, B, Nout)."""
        hidden = (
            images.mT
        )  # features by samples, so that gradients of weights lie as the weights do
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias[:, :, None], weight, hidden)  # (R, W, B)
            if index < len(self.weights) - 1:
                hidden = self._drop(torch.relu_(hidden))
        return hidden.mT

    def _drop(self, hidden: Tensor) -> Tensor:
        if not (self.training and self.dropout):
            return hidden
        kept = torch.rand(hidden.shape, generator=self._dropout_stream) >= self.dropout
        return hidden * kept / (1 - self.dropout)


def stream(seed: int, *names: str | int) -> torch.Generator:
    """A torch generator of one named stream of a seed."""
    return torch.Generator().manual_seed(SeedTree(seed).child("bench", *names).key64 >> 1)


def replica_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of each replica: logits (R, B, Nout), labels (R, B) -> (R,)."""
    flat = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return flat.view(labels.shape).mean(dim=1)


def epoch_orders(seeds: Sequence[int], epoch: int, n_samples: int) -> Tensor:
    """The order of samples of each seed in one epoch, (R, N) int64."""
    return torch.stack(
        [torch.randperm(n_samples, generator=stream(seed, "order", epoch)) for seed in seeds]
    )


def batches(split: Split, orders: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (R, B, Nin) and labels (R, B), batch after batch along orders (R, N)."""
    for rows in torch.split(orders, batch_size, dim=1):
        flat = rows.flatten()
        yield split.images[flat].view(*rows.shape, -1), split.labels[flat].view(rows.shape)


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, replicas: int) -> tuple[Tensor, Tensor]:
    """Mean loss and accuracy (percent) of each replica on a split, both (R,) float64.

    The model is put into evaluation mode for it and back into its mode afterwards.
    """
    was_training = model.training
    model.eval()
    loss = torch.zeros(replicas, dtype=torch.float64)
    correct = torch.zeros(replicas, dtype=torch.float64)
    images_by_batch = torch.split(split.images, _EVALUATION_BATCH)
    labels_by_batch = torch.split(split.labels, _EVALUATION_BATCH)
    for images, labels in zip(images_by_batch, labels_by_batch, strict=True):
        logits = model(images.expand(replicas, *images.shape))  # (R, B, Nout)
        loss += replica_loss(logits, labels.expand(replicas, -1)) * len(labels)
        best, predicted = logits.max(dim=2)  # both (R, B)
        correct += ((predicted == labels) & ~best.isnan()).sum(dim=1)
    model.train(was_training)
    return loss / split.n_samples, 100 * correct / split.n_samples


def _draw(
    how: Initialisation, fan_in: int, fan_out: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Weight (fan_out, fan_in) and bias (fan_out,) of one layer of one replica."""
    shape, bias = (fan_out, fan_in), torch.zeros(fan_out)
    if how is Initialisation.ZERO:
        return torch.zeros(shape), bias
    if how is Initialisation.TORCH:
        bound = 1 / math.sqrt(fan_in)
        weight = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        return weight, bias.uniform_(-bound, bound, generator=generator)
    sd = 0.1 if how is Initialisation.SIMPLE else math.sqrt(2 / fan_in)
    return sd * torch.randn(shape, generator=generator), bias
