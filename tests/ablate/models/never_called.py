"""Modules that are built and never used, and a branch that never runs."""

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self, auxiliary=False):
        super().__init__()
        self.body = nn.Linear(5, 7)
        self.unused = nn.Linear(5, 9)
        self.extra = nn.Dropout(0.0)
        self.nothing = nn.Identity()
        self.head = nn.Linear(7, 2)
        self.auxiliary = auxiliary

    def forward(self, x):
        x = F.silu(self.body(x))
        if self.auxiliary:
            x = F.normalize(x)
        return self.head(self.nothing(self.extra(x)))


def build():
    return Net()


def inputs():
    return (torch.randn(4, 5, generator=torch.Generator().manual_seed(4)),)
