from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)
        self.act = nn.GELU()

    def forward(self, x):
        return x + self.act(self.mix(self.norm(x)))


class Net(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.stem = nn.Linear(64, width)
        self.first = Block(width)
        self.second = Block(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.second(self.first(self.stem(x))))
