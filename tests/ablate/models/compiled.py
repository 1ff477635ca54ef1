"""Compiled parts in every form, checkpoints, and modules that answer no truth test."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.act = nn.Linear(8, 8), nn.ReLU()

    def forward(self, x):
        return x + self.act(self.fc(x))

    def __len__(self):
        return 0


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        return torch.tanh(self.fc(x))

    def __bool__(self):
        raise RuntimeError("a module is neither true nor false")


@torch.compile
def squash(x):
    return F.softsign(x)


@torch.jit.script
def soften(x):
    return F.softplus(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = torch.compile(Block(), backend="eager")
        self.odd = Odd()
        self.odd.compile(fullgraph=True)
        self.post = torch.compile(self._post, mode="reduce-overhead")
        self.deep = Block()
        self.out = nn.Linear(8, 2)
        state = {name.replace("block.", "block._orig_mod."): value for name, value in self.items()}
        self.load_state_dict(state)

    def items(self):
        return self.state_dict().items()

    def _post(self, x):
        return F.gelu(x) * 2

    @torch.compile(fullgraph=False)
    def head(self, x):
        return self.out(self.post(soften(squash(x))))

    @torch.compiler.disable
    def middle(self, x):
        return torch.sigmoid(x) + x

    def forward(self, x):
        x = self.middle(self.odd(self.block(x)))
        return self.head(checkpoint(self.deep, x, use_reentrant=False))


def build():
    net = Net()
    net.block._orig_mod.fc.bias.data.fill_(0.5)
    return torch.compile(net)


def inputs():
    return (torch.randn(4, 8, generator=torch.Generator().manual_seed(3)),)
