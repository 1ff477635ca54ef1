"""Weight normalisation around layers, and initialisation by hand."""

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = weight_norm(nn.Conv1d(2, 6, 3, padding=1))
        self.linear = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))
        self.head = nn.Linear(6, 2)
        self.reset()

    def reset(self):
        self.head.weight.data.normal_(0, 0.1)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.zeros_(module.bias)

    def forward(self, x):
        x = torch.relu(self.conv(x)).mean(dim=2)
        return self.head(self.linear(x))


def build():
    return Net()


def inputs():
    return (torch.randn(4, 2, 7, generator=torch.Generator().manual_seed(16)),)
