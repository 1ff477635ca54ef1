"""Blocks in a plain Python list: named_modules() does not see them."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.lift = nn.Linear(width, width)

    def forward(self, x):
        return x + torch.relu(self.lift(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = [Block(6) for _ in range(3)]
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def build():
    return Net()


def inputs():
    return (torch.randn(4, 6, generator=torch.Generator().manual_seed(6)),)
