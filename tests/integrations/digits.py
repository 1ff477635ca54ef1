"""The embedded digits as images, and a small convolutional network, for any trainer."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from antifragile import FrustrationEngine, FrustrationRecord
from antifragile.engine.frustration.functions import TrainEpoch

N_TRAIN, N_VALIDATION = 256, 128


def images() -> tuple[Tensor, Tensor]:
    """Return (384, 1, 8, 8) float32 images and their classes."""
    pixels, classes = load_digits(return_X_y=True)
    n = N_TRAIN + N_VALIDATION
    return torch.tensor(pixels[:n] / 16).float().view(n, 1, 8, 8), torch.tensor(classes[:n])


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 8),
        nn.ReLU(),
        nn.Linear(8, 10),
    )


def seeded_network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return network()


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


def plain_records(
    model: nn.Module, train_epoch: TrainEpoch, mode: str, optimizer: torch.optim.Optimizer
) -> list[FrustrationRecord]:
    """Run four meta-loops of the engine around a plain loop, by which a trainer's are judged."""
    x, y = (part[N_TRAIN:] for part in images())
    engine = FrustrationEngine(
        model,
        train_epoch,
        lambda model: accuracy(model, x, y),
        mode=mode,
        seed=5,
        optimizer=optimizer,
    )
    return list(engine.run(4))
