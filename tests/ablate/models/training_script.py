"""A model inside a script that trains it when it is run."""

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 8)
        self.two = nn.Linear(8, 2)

    def forward(self, x):
        return self.two(torch.relu(self.one(x)))


def build():
    return Net()


def inputs():
    return (torch.randn(6, 4, generator=torch.Generator().manual_seed(19)),)


def step(model, x):
    x = x + 0.1 * torch.ones_like(x)  # ablate: shift
    y = model(x)
    target = torch.arange(len(x)) % 2
    loss = F.cross_entropy(y, target)
    loss = loss + 0.01 * sum(p.pow(2).sum() for p in model.parameters())  # ablate: decay
    # ablate: margin
    loss += F.relu(1 - y.abs()).mean()
    return loss


if __name__ == "__main__":
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        loss = step(model, *inputs())
        loss.backward()
        optimizer.step()
    print(f"loss {loss:.3f}")
