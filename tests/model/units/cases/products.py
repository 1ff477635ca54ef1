"""Gated layers, and parameters that the model multiplies itself, without a layer's module."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tests.model.units.expected import (
    Case,
    Expected,
    columns,
    heads,
    joined,
    lively,
    numbers,
    rows,
    tokens,
)


class SwiGLU(nn.Module):
    """``down(silu(gate(x)) * up(x))``, between a stem and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 3)
        self.gate, self.up, self.down = nn.Linear(3, 5), nn.Linear(3, 5), nn.Linear(5, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.stem(x))
        return self.head(self.down(nn.functional.silu(self.gate(x)) * self.up(x)))


def swiglu() -> nn.Module:
    torch.manual_seed(70)
    return lively(SwiGLU(), 70)


SWIGLU = Case(
    name="SwiGLU",
    build=swiglu,
    inputs=lambda: (numbers(4, 4),),
    hidden=lambda: [
        *(
            Expected(
                kind="neuron",
                incoming=rows("stem", i),
                outgoing=joined(columns("gate", i), columns("up", i)),
            )
            for i in range(3)
        ),
        *(
            Expected(
                kind="neuron",
                incoming=joined(rows("gate", i), rows("up", i)),
                outgoing=columns("down", i),
            )
            for i in range(5)
        ),
        *(
            Expected(kind="neuron", incoming=rows("down", i), outgoing=columns("head", i))
            for i in range(3)
        ),
    ],
    output=lambda: heads("head", 2),
)


def glu() -> nn.Module:
    torch.manual_seed(71)
    return lively(nn.Sequential(nn.Linear(4, 6), nn.GLU(), nn.Linear(3, 2)), 71)


GLU = Case(
    name="gate and value in one linear",
    build=glu,
    inputs=lambda: (numbers(4, 4),),
    hidden=lambda: [
        Expected(
            kind="neuron",
            incoming=joined(rows("0", i), rows("0", 3 + i)),
            outgoing=columns("2", i),
        )
        for i in range(3)
    ],
    output=lambda: heads("2", 2),
)


class Matmul(nn.Module):
    """Plain matrices: one multiplied from the right, one transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.zeros(4, 3)), nn.Parameter(torch.zeros(3))
        self.v = nn.Parameter(torch.zeros(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.w + self.b) @ self.v.T


def matmul() -> nn.Module:
    torch.manual_seed(72)
    return lively(Matmul(), 72)


MATMUL = Case(
    name="parameter matrices in matmul",
    build=matmul,
    inputs=lambda: (numbers(4, 4),),
    hidden=lambda: [
        Expected(
            kind="neuron",
            incoming={"w": [np.s_[:, i]], "b": [i]},
            outgoing={"v": [np.s_[:, i]]},
        )
        for i in range(3)
    ],
    output=lambda: [Expected(kind="neuron", incoming={"v": [i]}) for i in (0, 1)],
)


class Einsum(nn.Module):
    """Two experts, each with its own weights, added up at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.w_in = nn.Parameter(torch.zeros(2, 3, 4))  # (expert, neuron, feature)
        self.w_out = nn.Parameter(torch.zeros(2, 3, 2))  # (expert, neuron, class)

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(torch.einsum("bf,enf->ben", x, self.w_in))
        return torch.einsum("ben,enc->bc", inner, self.w_out)


def einsum() -> nn.Module:
    torch.manual_seed(73)
    return lively(Einsum(), 73)


EINSUM = Case(
    name="einsum with parameters",
    build=einsum,
    inputs=lambda: (numbers(4, 4),),
    hidden=lambda: [
        Expected(kind="neuron", incoming={"w_in": [np.s_[e, n]]}, outgoing={"w_out": [np.s_[e, n]]})
        for e in (0, 1)
        for n in (0, 1, 2)
    ],
    output=lambda: [Expected(kind="neuron", incoming={"w_out": [np.s_[:, :, c]]}) for c in (0, 1)],
)


def bag() -> nn.Module:
    torch.manual_seed(74)
    layers = [nn.EmbeddingBag(6, 3, mode="mean"), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)]
    return lively(nn.Sequential(*layers), 74)


BAG = Case(
    name="embedding bag classifier",
    build=bag,
    inputs=lambda: (tokens(4, 3, below=6),),
    hidden=lambda: [
        *(
            Expected(kind="channel", incoming=columns("0", j), outgoing=columns("1", j))
            for j in range(3)
        ),
        *(
            Expected(kind="neuron", incoming=rows("1", i), outgoing=columns("3", i))
            for i in range(4)
        ),
    ],
    output=lambda: heads("3", 2),
)


class Split(nn.Module):
    """One linear whose neurons part into two branches, each with a reader of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Linear(4, 5)
        self.left, self.right = nn.Linear(2, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        left, right = self.both(x).split([2, 3], dim=1)
        return self.left(torch.relu(left)), self.right(torch.tanh(right))


def split() -> nn.Module:
    torch.manual_seed(75)
    return lively(Split(), 75)


SPLIT = Case(
    name="one linear split into two branches",
    build=split,
    inputs=lambda: (numbers(4, 4),),
    hidden=lambda: [
        Expected(kind="neuron", incoming=rows("both", i), outgoing=columns(reader, place))
        for i, (reader, place) in enumerate(
            [("left", 0), ("left", 1), ("right", 0), ("right", 1), ("right", 2)]
        )
    ],
    output=lambda: [*heads("left", 2), *heads("right", 2)],
)


class Unwatched(nn.Module):
    """Layers that a call shows nothing of: not called, fed by a parameter, of an unknown kind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 3)
        self.other = nn.Linear(4, 3)  # read where the inputs are large
        self.query, self.grow = nn.Parameter(torch.ones(1, 2)), nn.Linear(2, 3)
        self.pair = nn.Bilinear(3, 3, 2)
        self.head = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x) if x.abs().max() < 100 else self.other(x)
        x = torch.relu(x + self.grow(self.query))
        return self.head(torch.relu(self.pair(x, x)))


def unwatched() -> nn.Module:
    torch.manual_seed(76)
    return lively(Unwatched(), 76)


UNWATCHED = Case(
    name="layers that a call does not show",
    build=unwatched,
    inputs=lambda: (numbers(4, 4),),
    hidden=list,
    output=lambda: heads("head", 2),
    refused={
        "stem": "mixed",
        "other": "not called",
        "grow": "parameters alone",
        "pair": "_trilinear",
    },
    unowned=("query",),
)

PRODUCTS = [SWIGLU, GLU, MATMUL, EINSUM, BAG, SPLIT, UNWATCHED]
