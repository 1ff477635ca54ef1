"""Scale factors and divisors, and arithmetic that is none."""

import math

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(9, 6)
        self.fc, self.head = nn.Linear(6, 6), nn.Linear(6, 3)
        self.temperature = nn.Parameter(torch.tensor([0.7]))
        self.log_scale = nn.Parameter(torch.tensor([0.3, 0.2]))
        self.gain = nn.Parameter(torch.ones(6) * 1.5)
        self.scale = 6**-0.5
        self.register_buffer("damping", torch.tensor(0.5))

    def forward(self, ids):
        places = torch.arange(ids.shape[1])[:, None] / 10 ** (torch.arange(6) / 6)
        x = self.tokens(ids) * 4.0
        x = x + torch.sin(places * 2.0)
        q = self.fc(x) * self.scale
        weights = q @ x.transpose(-2, -1) / math.sqrt(6)
        x = x + 0.5 * self.fc(weights.softmax(-1) @ x)
        x *= 1.25
        x = torch.div(x, 3.0).mul(0.75)
        x = x / x.norm(dim=-1, keepdim=True)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        x = x * self.damping * self.gain
        x = torch.tanh(1 - x) * 1.0 + 1e-3
        x = self.fc(x) * self.log_scale[:1].exp()
        x = x @ (self.fc.weight * 0.1)
        size = x.shape[1] * 2 / 2 - 1
        return self.head(x)[:, : int(size)] / self.temperature


def build():
    return Net()


def inputs():
    return (torch.randint(9, (3, 5), generator=torch.Generator().manual_seed(32)),)
