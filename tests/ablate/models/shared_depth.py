"""One layer used at several depths: in a loop and at two places."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(4, 6)
        self.shared = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.leave = nn.Linear(6, 2)

    def forward(self, x):
        x = self.enter(x)
        for _ in range(3):
            x = torch.tanh(self.shared(x))
        x = self.norm(x)
        x = x + self.shared(x)
        return self.leave(self.norm(x))


def build():
    return Net()


def inputs():
    return (torch.randn(5, 4, generator=torch.Generator().manual_seed(17)),)
