"""Pairs of modules in a ModuleList of ModuleLists."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.pairs = nn.ModuleList([])
        for _ in range(2):
            self.pairs.append(nn.ModuleList([nn.Linear(6, 6), nn.LayerNorm(6)]))
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        for mix, norm in self.pairs:
            x = mix(norm(x)) + x
        return self.head(x)


def build():
    return Net()


def inputs():
    return (torch.randn(3, 6, generator=torch.Generator().manual_seed(8)),)
