"""A small transformer that reads a digit row by row, to be taken apart by an ablation study.

Eight rows of eight pixels are eight tokens. Two pre-norm blocks of attention and a two-layer
perceptron, learned positions, a summary token, a linear head. Everything that a digit classifier of
this kind may or may not need stands on a line of its own.
"""

import math

import torch
from torch import nn

ROWS, PIXELS, WIDTH, HEADS, CLASSES = 8, 8, 32, 4, 10


class Attention(nn.Module):
    """Self-attention with HEADS heads."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, HEADS, width // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(width // HEADS)
        mixed = scores.softmax(dim=-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    """Each token by itself."""

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.act = nn.GELU()
        self.down = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        return self.down(self.act(self.up(x)))


class Block(nn.Module):
    """Attention, then a perceptron, each behind a norm and added to what came in."""

    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attn = Attention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = Mlp()

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x


class RowTransformer(nn.Module):
    """A digit as a sequence of its rows."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(PIXELS, WIDTH)
        self.summary = nn.Parameter(0.02 * torch.randn(1, 1, WIDTH))
        self.position = nn.Parameter(0.02 * torch.randn(1, ROWS + 1, WIDTH))
        self.drop = nn.Dropout(0.1)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, rows):
        x = self.embed(rows)
        x = torch.cat([self.summary.expand(len(x), -1, -1), x], dim=1)
        x = x + self.position
        x = self.drop(x)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(x[:, 0])


def build():
    """The model."""
    return RowTransformer()


def inputs():
    """Two digits' worth of noise."""
    return (torch.randn(2, ROWS, PIXELS),)
