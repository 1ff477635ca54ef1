# ruff: noqa: F403, F405
"""The whole network."""

from .parts import *


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.down = Down(4, 8)
        self.up = Up(8, 4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        skip = self.stem(x)
        return self.head(self.up(self.down(skip), skip))
