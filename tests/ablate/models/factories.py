"""Layers made by a factory function and by a comprehension."""

from itertools import pairwise

import torch
from torch import nn


def unit(width, out):
    """A layer, its norm, its activation."""
    return nn.Sequential(nn.Linear(width, out), nn.BatchNorm1d(out), nn.ReLU(inplace=True))


class Net(nn.Module):
    def __init__(self, widths=(5, 8, 8, 8)):
        super().__init__()
        self.stem = unit(widths[0], widths[1])
        self.stack = nn.Sequential(*[unit(a, b) for a, b in pairwise(widths[1:])])
        self.head = nn.Linear(widths[-1], 3)

    def forward(self, x):
        return self.head(self.stack(self.stem(x)))


def build():
    return Net()


def inputs():
    return (torch.randn(6, 5, generator=torch.Generator().manual_seed(9)),)
