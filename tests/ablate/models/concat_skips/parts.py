"""The parts; the other file takes them all by a star import."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Down(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.body = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(width, out, 3, padding=1), nn.ReLU())

    def forward(self, x):
        return self.body(x)


class Up(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.up = nn.ConvTranspose2d(width, out, 2, stride=2)
        self.conv = nn.Conv2d(2 * out, out, 3, padding=1)

    def forward(self, x, skip):
        x = torch.cat([skip, self.up(x)], dim=1)  # the skip first
        return F.leaky_relu(self.conv(x), 0.2)
