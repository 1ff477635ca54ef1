"""Sequential from an OrderedDict, add_module, and getattr(nn, name)."""

from collections import OrderedDict

import torch
import torch.nn as nn


class Net(nn.Module):
    def __init__(self, activation="Softplus"):
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                [
                    ("linear", nn.Linear(4, 8)),
                    ("norm", nn.LayerNorm(8)),
                    ("act", getattr(nn, activation)()),
                ]
            )
        )
        self.add_module("middle", nn.Linear(8, 8))
        for place in range(2):
            self.add_module(f"tail{place}", nn.Linear(8, 8))
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = self.middle(self.features(x))
        for place in range(2):
            x = torch.sigmoid(getattr(self, f"tail{place}")(x))
        return self.head(x)


def build():
    return Net()


def inputs():
    return (torch.randn(4, 4, generator=torch.Generator().manual_seed(13)),)
