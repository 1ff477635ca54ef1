"""Two inputs of different kinds, one given by name inside."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 6)
        self.numbers = nn.Linear(3, 6)
        self.mix = nn.Bilinear(6, 6, 6)
        self.head = nn.Linear(6, 2)

    def join(self, left, *, right):
        return torch.selu(self.mix(left, right)) + left

    def forward(self, ids, values):
        words = self.words(ids).mean(dim=1)
        return self.head(self.join(words, right=self.numbers(values)))


def build():
    return Net()


def inputs():
    generator = torch.Generator().manual_seed(20)
    return torch.randint(0, 9, (4, 5), generator=generator), torch.randn(4, 3, generator=generator)
