"""Sums and differences: skips on either side, unrelated summands, three summands, in place."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.head = nn.Linear(6, 2)
        self.register_buffer("shift", torch.linspace(-1, 1, 6).expand(4, 6).clone())

    def forward(self, x):
        y = self.one(x)
        x = x - y
        x = self.two(x) + x
        x = self.three(x) - x
        x -= torch.tanh(x)
        x = torch.sub(x, self.one(x))
        x = torch.sub(x, self.one(x), alpha=0.5)
        x = x + self.shift
        x = 2 * (self.one(x) - (self.two(x) + self.shift))
        x = self.one(x) + self.two(x) + self.three(x)
        return self.head(x.sub_(torch.tanh(x)))


def build():
    return Net()


def inputs():
    return (torch.randn(4, 6, generator=torch.Generator().manual_seed(31)),)
