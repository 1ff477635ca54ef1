"""The two training loops the fleet is measured against, as their users would write them.

plain: DataLoader over in-memory tensors, autograd, torch.optim.AdamW.
tuned: tensor indexing, denormals flushed, fused AdamW, as an expert writes it for one model.

Both train one epoch and validate, as one meta-loop of one replica does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from antifragile.config.architecture import Architecture
from antifragile.config.specs.training import TrainingOptions
from antifragile.data.splits import Dataset, Split

Loop = Callable[[nn.Module, Split, Split, TrainingOptions], int]

_DEEP = 100  # hidden layers from which 20 batches are timed and scaled
_SCALED_BATCHES = 20


def plain_epoch(model: nn.Module, train: Split, validation: Split, options: TrainingOptions) -> int:
    """Train one epoch and return the correct validation samples, the common way."""
    batches = DataLoader(
        TensorDataset(train.images, train.labels), batch_size=options.batch_size, shuffle=True
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=0.0)
    for images, labels in batches:
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
    checks = DataLoader(
        TensorDataset(validation.images, validation.labels), batch_size=options.batch_size
    )
    with torch.no_grad():
        return sum(int((model(x).argmax(dim=1) == y).sum()) for x, y in checks)


def tuned_epoch(model: nn.Module, train: Split, validation: Split, options: TrainingOptions) -> int:
    """Do the same with tensor indexing, flushed denormals and a fused optimizer."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, weight_decay=0.0, fused=True
    )
    torch.set_flush_denormal(True)
    try:
        for rows in torch.split(torch.randperm(train.n_samples), options.batch_size):
            loss = cross_entropy(model(train.images[rows]), train.labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch
            optimizer.step()
        with torch.no_grad():
            return sum(
                int((model(x).argmax(dim=1) == y).sum())
                for x, y in zip(
                    torch.split(validation.images, 1000),
                    torch.split(validation.labels, 1000),
                    strict=True,
                )
            )
    finally:
        torch.set_flush_denormal(False)


def seconds_per_meta_loop(
    loop: Loop, architecture: Architecture, data: Dataset, options: TrainingOptions
) -> float:
    """Time one epoch and validation of one network; very deep shapes on 20 batches, scaled."""
    train, validation, scale = data.train, data.validation, 1.0
    few = _SCALED_BATCHES * options.batch_size
    if architecture.depth >= _DEEP and train.n_samples > few:
        scale = train.n_samples / few
        train = _first(train, few)
        validation = _first(validation, max(1, round(validation.n_samples / scale)))
    model = network(architecture.layer_sizes(data.n_inputs, data.n_classes))
    started = time.perf_counter()
    loop(model, train, validation, options)
    return (time.perf_counter() - started) * scale


def _first(split: Split, n: int) -> Split:
    return Split(split.images[:n].contiguous(), split.labels[:n].contiguous())


def network(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers of these sizes, ReLU between them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
