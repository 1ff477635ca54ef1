"""A small model of two kinds of layers with functions that train and measure it, for tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def small_model(seed: int = 0) -> nn.Module:
    """Build a convolution with its norm, a hidden linear layer and a head."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 16, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


def small_data(n: int = 96) -> tuple[Tensor, Tensor]:
    """Draw images of 6 by 6 whose class is the third that is brightest."""
    generator = torch.Generator().manual_seed(7)
    images = torch.randn(n, 1, 6, 6, generator=generator)
    return images, images.view(n, 3, 12).mean(2).argmax(1)


IMAGES, LABELS = small_data()


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> float:
    """Train for one epoch in an order drawn from torch's global generator."""
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    loss = torch.zeros(())
    for rows in torch.randperm(64).split(16):
        optimizer.zero_grad()
        loss = cross_entropy(model(IMAGES[rows]), LABELS[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return loss.item()


@torch.no_grad()
def evaluate(model: nn.Module) -> float:
    """Measure the accuracy on samples that are not trained on."""
    model.eval()
    return float((model(IMAGES[64:]).argmax(1) == LABELS[64:]).float().mean())


@torch.no_grad()
def validation_loss(model: nn.Module) -> float:
    """Measure the loss on samples that are not trained on; less is better."""
    model.eval()
    return float(cross_entropy(model(IMAGES[64:]), LABELS[64:]))
