"""Parameters used by hand: a token, positions, a scale, a weight matrix."""

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 6))
        self.positions = nn.Parameter(torch.randn(1, 5, 6) * 0.1)
        self.scale = nn.Parameter(torch.full((6,), 0.5))
        self.weight = nn.Parameter(torch.randn(3, 6))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        x = x + self.positions
        x = torch.relu(x) * self.scale
        return F.linear(x[:, 0] + x.mean(dim=1), self.weight, self.bias)


def build():
    return Net()


def inputs():
    return (torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(15)),)
