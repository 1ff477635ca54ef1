"""Products: gates by value, by name, by shape and by activation, and some that are open."""

import torch
import torch.nn.functional as F
from torch import nn


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.wi, self.wg, self.wo = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        i, g, o = torch.sigmoid(self.wi(x)), torch.tanh(self.wg(x)), torch.sigmoid(self.wo(x))
        c = i * g
        return o * torch.tanh(c)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.all = nn.Linear(8, 16)

    def forward(self, x):
        content, gate = torch.tanh(self.all(x)), torch.sigmoid(self.all(x)).chunk(2, -1)[0]
        z, h = content.chunk(2, dim=-1)
        return (1 - gate) * z + torch.mul(h, gate[:, :8])


class Unit(nn.Module):
    def __init__(self):
        super().__init__()
        self.spatial = nn.Linear(4, 4)

    def forward(self, x):
        content, gate = x.chunk(2, dim=-1)
        gate = self.spatial(gate)
        return gate * content


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x):
        x = F.silu(self.one(x)) * self.two(x)
        x = x * self.three(x)
        y, z = self.one(x), self.two(x)
        return torch.sigmoid(y) * torch.sigmoid(z) + self.one(x) * self.two(x) * self.three(x)


class Decay(nn.Module):
    def __init__(self):
        super().__init__()
        self.step = nn.Linear(4, 4)

    def forward(self, x):
        c = torch.full_like(x, 0.5)
        for _ in range(2):
            c = c * self.step(x)
        return c


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.recurrent, self.unit = Cell(), Recurrent(), Unit()
        self.linear, self.decay, self.head = Linear(), Decay(), nn.Linear(4, 3)

    def forward(self, x):
        x = self.unit(self.recurrent(self.cell(x)))
        return self.head(self.decay(self.linear(x)))


def build():
    return Net()


def inputs():
    return (torch.randn(4, 8, generator=torch.Generator().manual_seed(30)),)
