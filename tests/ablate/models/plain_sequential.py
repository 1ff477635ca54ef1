"""No class at all: build() returns an nn.Sequential."""

import torch
from torch import nn


def build():
    return nn.Sequential(
        nn.Linear(4, 8),
        nn.Tanh(),
        nn.Linear(8, 2),
    )


def inputs():
    return (torch.randn(5, 4, generator=torch.Generator().manual_seed(23)),)
