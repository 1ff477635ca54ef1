"""Gated linear units: the module, the function, and written by hand."""

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide = nn.Linear(5, 12)
        self.glu = nn.GLU(dim=-1)
        self.second = nn.Linear(6, 12)
        self.value = nn.Linear(6, 8, bias=False)
        self.gate = nn.Linear(6, 8, bias=False)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = self.glu(self.wide(x))
        x = F.glu(self.second(x), dim=-1)
        x = F.silu(self.gate(x)) * self.value(x)
        return self.head(x)


def build():
    return Net()


def inputs():
    return (torch.randn(4, 5, generator=torch.Generator().manual_seed(11)),)
