"""The same modules under two names: as attributes and inside a Sequential."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.act = nn.Tanh()
        self.second = nn.Linear(6, 4)
        self.net = nn.Sequential(self.first, self.act, self.second)
        self.again = self.second

    def forward(self, x):
        return self.net(x)


def build():
    return Net()


def inputs():
    return (torch.randn(4, 6, generator=torch.Generator().manual_seed(5)),)
