"""A script without a guard: importing it trains."""

import torch
from torch import nn

torch.manual_seed(0)
data = torch.randn(8, 3)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(3, 5)
        self.two = nn.Linear(5, 1)

    def forward(self, x):
        return self.two(torch.tanh(self.one(x)))


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    loss = (
        model(data).pow(2).mean()
        + 0.1 * model.one.weight.abs().sum()  # ablate: sparsity
        + 0.01 * model.two.weight.pow(2).sum()  # a little decay for the other
    )
    loss.backward()
    optimizer.step()


def build():
    return Net()


def inputs():
    return (data,)
