"""Classes whose names say something else than what they do, and modules that do nothing."""

import torch
from torch import nn


class Identity(nn.Module):
    """Not one."""

    def forward(self, x):
        return torch.tanh(x)


class Flatten(nn.Module):
    """It bends, too."""

    def forward(self, x):
        return torch.sigmoid(x)


class Double(nn.Module):
    """Returns the tensor it was given, but not as it was."""

    def forward(self, x):
        x *= 2
        return x


class Optional(nn.Module):
    """Switched off."""

    def forward(self, x):
        return x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.squash = Identity()
        self.flat = Flatten()
        self.twice = Double()
        self.optional = Optional()
        self.nothing = nn.Identity()
        self.empty = nn.Sequential()
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        x = self.flat(self.squash(self.first(x)))
        x = self.twice(x + 0)
        return self.last(self.dropout(self.empty(self.nothing(self.optional(x)))))


def build():
    return Net()


def inputs():
    return (torch.randn(4, 6),)
