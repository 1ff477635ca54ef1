"""A model in float64."""

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(3, 7, dtype=torch.float64)
        self.two = nn.Linear(7, 2, dtype=torch.float64)

    def forward(self, x):
        return self.two(F.softplus(self.one(x)))


def build():
    return Net()


def inputs():
    generator = torch.Generator().manual_seed(21)
    return (torch.randn(4, 3, dtype=torch.float64, generator=generator),)
