"""A recurrent layer with a hidden state; the model returns a tuple."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.LSTM(5, 6, batch_first=True)
        self.cell = nn.GRUCell(6, 6)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(6, 3)

    def forward(self, x, state=None):
        y, state = self.encoder(x, state)
        h = torch.zeros(x.shape[0], 6)
        for step in range(y.shape[1]):
            h = self.cell(y[:, step], h)
        return self.head(self.drop(h)), state


def build():
    return Net()


def inputs():
    return (torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(14)),)
