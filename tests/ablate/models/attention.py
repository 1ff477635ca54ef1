"""Attention three ways: nn.MultiheadAttention, by hand, and inside a library's layer."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class ByHand(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        weights = F.softmax(q @ k.transpose(-2, -1) / math.sqrt(C // self.heads), dim=-1)
        y = (weights @ v).transpose(1, 2).reshape(B, T, C)
        return self.out(y)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.by_hand = ByHand(8, 4)
        self.library = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        y, _ = self.attend(x, x, x, need_weights=False)
        x = x + y
        x = x + self.by_hand(x)
        return self.head(self.library(x)[:, 0])


def build():
    return Net()


def inputs():
    return (torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(22)),)
