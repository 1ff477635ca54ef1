"""Pairs (mixer, perceptron) in a list of lists; the mixer returns two tensors."""

import torch
from torch import nn


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        y = self.fc(x)
        return y, y.mean()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([])
        for _ in range(2):
            self.layers.append(nn.ModuleList([Mixer(), nn.Sequential(nn.Linear(8, 8), nn.ReLU())]))
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        for mix, mlp in self.layers:
            y, _ = mix(x)
            x = y + x
            x = mlp(x) + x
        return self.out(x)


def build():
    return Net()


def inputs():
    return (torch.randn(4, 8, generator=torch.Generator().manual_seed(33)),)
