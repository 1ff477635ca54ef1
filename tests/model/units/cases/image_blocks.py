"""Blocks of newer image models: inverted residual, ConvNeXt, vision transformer, MLP-Mixer."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tests.model.units.expected import Case, Expected, columns, heads, joined, lively, numbers, rows


class InvertedResidual(nn.Module):
    """A stem, then expand, depthwise and project with BatchNorm around a skip, then a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm0 = nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3)
        self.expand, self.norm1 = nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.depth, self.norm2 = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.BatchNorm2d(4)
        self.project, self.norm3 = nn.Conv2d(4, 3, 1, bias=False), nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm0(self.stem(x))
        y = nn.functional.relu6(self.norm1(self.expand(x)))
        y = nn.functional.relu6(self.norm2(self.depth(y)))
        return self.head((x + self.norm3(self.project(y))).mean(dim=(2, 3)))


def inverted_residual() -> nn.Module:
    torch.manual_seed(90)
    return lively(InvertedResidual(), 90)


INVERTED_RESIDUAL = Case(
    name="inverted residual block",
    build=inverted_residual,
    inputs=lambda: (numbers(3, 2, 4, 4),),
    hidden=lambda: [
        *(
            Expected(
                kind="residual",
                incoming=joined(
                    rows("stem", c),
                    rows("norm0", c),
                    rows("project", c, bias=False),
                    rows("norm3", c),
                ),
                outgoing=joined(columns("expand", c), columns("head", c)),
            )
            for c in range(3)
        ),
        *(
            Expected(
                kind="channel",
                incoming=joined(
                    rows("expand", c, bias=False),
                    rows("norm1", c),
                    rows("depth", c),
                    rows("norm2", c),
                ),
                outgoing=columns("project", c),
            )
            for c in range(4)
        ),
    ],
    output=lambda: heads("head", 2),
)


class ConvNeXt(nn.Module):
    """Depthwise convolution, LayerNorm over the channels, two linears, a scale, a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depth = nn.Conv2d(2, 3, 2), nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.norm = nn.LayerNorm(3)
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 3)
        self.gamma = nn.Parameter(torch.ones(3))
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = self.gamma * self.second(nn.functional.gelu(self.first(y)))
        return self.head((x + y.permute(0, 3, 1, 2)).mean(dim=(2, 3)))


def conv_next() -> nn.Module:
    torch.manual_seed(91)
    return lively(ConvNeXt(), 91)


CONV_NEXT = Case(
    name="ConvNeXt block",
    build=conv_next,
    inputs=lambda: (numbers(3, 2, 4, 4),),
    hidden=lambda: [
        Expected(kind="neuron", incoming=rows("first", i), outgoing=columns("second", i))
        for i in range(4)
    ],
    output=lambda: heads("head", 2),
    refused={"stem": "norm", "depth": "norm", "second": "norm"},
    unowned=("norm.weight", "norm.bias", "gamma"),
)


class ViT(nn.Module):
    """Patches, a class token, positions, one block with 2 heads of 2, a head on the class token.

    ``norm`` makes the norms of the stream; ``nn.Identity`` for none.
    """

    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 4, 2, stride=2)
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.position = nn.Parameter(torch.zeros(1, 1 + 4, 4))
        self.norm1, self.norm2, self.norm3 = norm(4), norm(4), norm(4)
        self.qkv, self.projection = nn.Linear(4, 12), nn.Linear(4, 4)
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch(images).flatten(2).transpose(1, 2)  # (batch, patches, channels)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.position
        q, k, v = self.qkv(self.norm1(x)).view(len(x), 5, 3, 2, 2).permute(2, 0, 3, 1, 4)
        mixed = torch.softmax(q @ k.mT / 2**0.5, dim=-1) @ v  # (batch, heads, time, size)
        x = x + self.projection(mixed.transpose(1, 2).flatten(2))
        x = x + self.second(nn.functional.gelu(self.first(self.norm2(x))))
        return self.head(self.norm3(x)[:, 0])


def vit(norm: type[nn.Module]) -> nn.Module:
    torch.manual_seed(92)
    return lively(ViT(norm), 92)


def vit_heads_and_neurons() -> list[Expected]:
    return [
        *(
            Expected(
                kind="head",
                incoming={"qkv.weight": pairs, "qkv.bias": pairs},
                outgoing=columns("projection", pairs[0]),
            )
            for pairs in (
                [np.s_[0:2], np.s_[4:6], np.s_[8:10]],
                [np.s_[2:4], np.s_[6:8], np.s_[10:12]],
            )
        ),
        *(
            Expected(kind="neuron", incoming=rows("first", i), outgoing=columns("second", i))
            for i in range(5)
        ),
    ]


VIT = Case(
    name="vision transformer",
    build=lambda: vit(nn.LayerNorm),
    inputs=lambda: (numbers(3, 1, 4, 4),),
    hidden=vit_heads_and_neurons,
    output=lambda: heads("head", 2),
    refused=dict.fromkeys(("patch", "token", "position", "projection", "second"), "norm"),
    unowned=[f"norm{n}.{end}" for n in (1, 2, 3) for end in ("weight", "bias")],
)

VIT_WITHOUT_NORM = Case(
    name="vision transformer without norms",
    build=lambda: vit(nn.Identity),
    inputs=lambda: (numbers(3, 1, 4, 4),),
    hidden=lambda: [
        *(
            Expected(
                kind="residual",
                incoming=joined(
                    rows("patch", j),
                    {"token": [np.s_[0, 0, j]], "position": [np.s_[0, :, j]]},
                    rows("projection", j),
                    rows("second", j),
                ),
                outgoing=joined(columns("qkv", j), columns("first", j), columns("head", j)),
            )
            for j in range(4)
        ),
        *vit_heads_and_neurons(),
    ],
    output=lambda: heads("head", 2),
)


class Mixer(nn.Module):
    """One block of MLP-Mixer: an MLP over the patches, one over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(2, 4)
        self.norm1, self.norm2 = nn.LayerNorm(4), nn.LayerNorm(4)
        self.tokens1, self.tokens2 = nn.Linear(3, 5), nn.Linear(5, 3)
        self.channels1, self.channels2 = nn.Linear(4, 6), nn.Linear(6, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, patches: Tensor) -> Tensor:
        x = self.stem(patches)
        y = nn.functional.gelu(self.tokens1(self.norm1(x).transpose(1, 2)))
        x = x + self.tokens2(y).transpose(1, 2)
        x = x + self.channels2(nn.functional.gelu(self.channels1(self.norm2(x))))
        return self.head(x.mean(dim=1))


def mixer() -> nn.Module:
    torch.manual_seed(93)
    return lively(Mixer(), 93)


MIXER = Case(
    name="MLP-Mixer",
    build=mixer,
    inputs=lambda: (numbers(3, 3, 2),),
    hidden=lambda: [
        Expected(kind="neuron", incoming=rows(f"{layer}1", i), outgoing=columns(f"{layer}2", i))
        for layer, width in (("tokens", 5), ("channels", 6))
        for i in range(width)
    ],
    output=lambda: heads("head", 2),
    # Rows of tokens2 are patches of the stream, which no layer writes alone: any reason will do.
    refused={"stem": "norm", "channels2": "norm", "tokens2": ""},
    unowned=[f"norm{n}.{end}" for n in (1, 2) for end in ("weight", "bias")],
)

IMAGE_BLOCKS = [INVERTED_RESIDUAL, CONV_NEXT, VIT, VIT_WITHOUT_NORM, MIXER]
