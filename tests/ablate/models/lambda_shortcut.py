"""A shortcut without parameters, hidden in a lambda."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        # every second pixel, three empty channels
        self.shortcut = Lambda(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 3)))
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        out = F.gelu(self.conv(x) + self.shortcut(x))
        return self.head(out.mean(dim=(2, 3)))


def build():
    return Net()


def inputs():
    return (torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2)),)
