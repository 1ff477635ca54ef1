"""A ModuleList that is filled in a loop and walked in a loop."""

import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, width, drop):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)
        self.drop = nn.Dropout(drop)

    def forward(self, x, scale):
        return x + self.drop(self.linear(self.norm(x))) * scale


class Net(nn.Module):
    def __init__(self, depth=4):
        super().__init__()
        self.layers = nn.ModuleList()
        for _ in range(depth):
            self.layers.append(Layer(8, 0.1))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x, 0.5)
        return self.head(x)


def build():
    return Net()


def inputs():
    return (torch.randn(4, 8, generator=torch.Generator().manual_seed(7)),)
