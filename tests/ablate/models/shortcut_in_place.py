"""A block with a projection where the shape changes, and `out += shortcut`."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width, out, stride):
        super().__init__()
        self.conv = nn.Conv2d(width, out, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Conv2d(width, out, 1, stride=stride)

    def forward(self, x):
        out = self.norm(self.conv(x))
        out += self.shortcut(x)
        return torch.relu(out)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.one = Block(4, 4, 1)
        self.two = Block(4, 8, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.two(self.one(self.stem(x)))
        return self.head(self.pool(x).flatten(1))


def build():
    return Net()


def inputs():
    return (torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)),)
