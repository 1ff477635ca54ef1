"""Residual perceptrons: their stream's channels are units when no norm mixes them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.model.units.expected import Case, Expected, columns, heads, joined, lively, numbers, rows


class ReLUBlock(nn.Module):
    """``relu(x + Linear(Dropout(ReLU(Linear(x)))))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.dropout(torch.relu(self.first(x)))))


def res_mlp() -> nn.Module:
    """Build [2*4, 1*3]: a stem of 4, two blocks, a stem of 3, one block, a head."""
    torch.manual_seed(30)
    wide = [nn.Linear(5, 4), nn.ReLU(), nn.Dropout(0.1), ReLUBlock(4), ReLUBlock(4)]
    narrow = [nn.Linear(4, 3), nn.ReLU(), nn.Dropout(0.1), ReLUBlock(3)]
    return lively(nn.Sequential(*wide, *narrow, nn.Linear(3, 2)), 30)


def inner_neurons(block: str, width: int) -> list[Expected]:
    return [
        Expected(
            kind="neuron",
            incoming=rows(f"{block}.first", i),
            outgoing=columns(f"{block}.second", i),
        )
        for i in range(width)
    ]


RES_MLP = Case(
    name="ResMLP of two widths",
    build=res_mlp,
    inputs=lambda: (numbers(4, 5),),
    hidden=lambda: [
        *(
            Expected(
                kind="residual",
                incoming=joined(rows("0", c), rows("3.second", c), rows("4.second", c)),
                outgoing=joined(columns("3.first", c), columns("4.first", c), columns("5", c)),
            )
            for c in range(4)
        ),
        *inner_neurons("3", 4),
        *inner_neurons("4", 4),
        *(
            Expected(
                kind="residual",
                incoming=joined(rows("5", c), rows("8.second", c)),
                outgoing=joined(columns("8.first", c), columns("9", c)),
            )
            for c in range(3)
        ),
        *inner_neurons("8", 3),
    ],
    output=lambda: heads("9", 2),
)


class ScaledBlock(nn.Module):
    """``x + gamma * Linear(GELU(Linear(alpha * x + beta)))``: scales where others have norms."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.alpha, self.beta = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.first, self.second = nn.Linear(width, inner), nn.Linear(inner, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-4))

    def forward(self, x: Tensor) -> Tensor:
        inner = nn.functional.gelu(self.first(self.alpha * x + self.beta))
        return x + self.gamma * self.second(inner)


def layer_scale() -> nn.Module:
    torch.manual_seed(31)
    return lively(nn.Sequential(nn.Linear(5, 3), ScaledBlock(3, 4), nn.Linear(3, 2)), 31)


LAYER_SCALE = Case(
    name="LayerScale and an affine instead of a norm",
    build=layer_scale,
    inputs=lambda: (numbers(4, 5),),
    hidden=lambda: [
        *(
            Expected(
                kind="residual",
                incoming=joined(
                    rows("0", c),
                    {"1.alpha": [c], "1.beta": [c], "1.gamma": [c]},
                    rows("1.second", c),
                ),
                outgoing=joined(columns("1.first", c), columns("2", c)),
            )
            for c in range(3)
        ),
        *inner_neurons("1", 4),
    ],
    output=lambda: heads("2", 2),
)


class NormedBlock(nn.Module):
    """``x + gamma * Linear(ReLU(Linear(LayerNorm(x))))``."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first, self.second = nn.Linear(width, inner), nn.Linear(inner, width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.second(torch.relu(self.first(self.norm(x))))


def layer_scale_behind_norm() -> nn.Module:
    torch.manual_seed(32)
    return lively(nn.Sequential(nn.Linear(5, 3), NormedBlock(3, 4), nn.Linear(3, 2)), 32)


LAYER_SCALE_BEHIND_NORM = Case(
    name="LayerScale in a stream with LayerNorm",
    build=layer_scale_behind_norm,
    inputs=lambda: (numbers(4, 5),),
    hidden=lambda: inner_neurons("1", 4),
    output=lambda: heads("2", 2),
    refused={"0": "norm", "1.second": "norm"},
    unowned=("1.norm.weight", "1.norm.bias", "1.gamma"),
)


class SaturatingStream(nn.Module):
    """``x + Linear(sigmoid(Linear(sigmoid(x))))`` behind a stem: each activation has a limit."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(5, 3)
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.second(torch.sigmoid(self.first(torch.sigmoid(x))))
        return self.head(torch.sigmoid(x))


def saturating_stream() -> nn.Module:
    torch.manual_seed(33)
    return lively(SaturatingStream(), 33)


SATURATING_STREAM = Case(
    name="a stream that is read through a sigmoid",
    build=saturating_stream,
    inputs=lambda: (numbers(4, 5),),
    hidden=lambda: [
        *(
            Expected(
                kind="residual",
                incoming=joined(rows("stem", c), rows("second", c)),
                outgoing=joined(columns("first", c), columns("head", c)),
                silent=False,
            )
            for c in range(3)
        ),
        *(
            Expected(
                kind="neuron",
                incoming=rows("first", i),
                outgoing=columns("second", i),
                silent=False,
            )
            for i in range(4)
        ),
    ],
    output=lambda: heads("head", 2),
)

RESIDUAL_MLPS = [RES_MLP, LAYER_SCALE, LAYER_SCALE_BEHIND_NORM, SATURATING_STREAM]
