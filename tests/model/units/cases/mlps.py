"""Multi-layer perceptrons: plain, with several inputs or heads, with norms."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tests.model.units.expected import Case, Expected, columns, heads, joined, lively, numbers, rows


def plain() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(5, 4), nn.Sigmoid(), nn.Dropout(0.5), nn.Linear(4, 3), nn.ReLU()]
    return lively(nn.Sequential(*layers, nn.Linear(3, 2, bias=False)), 7)


PLAIN = Case(
    name="plain MLP",
    build=plain,
    inputs=lambda: (numbers(4, 5),),
    hidden=lambda: [
        *(
            Expected(kind="neuron", incoming=rows("0", i), outgoing=columns("3", i), silent=False)
            for i in range(4)
        ),
        *(
            Expected(kind="neuron", incoming=rows("3", i), outgoing=columns("5", i))
            for i in (0, 1, 2)
        ),
    ],
    output=lambda: heads("5", 2, bias=False),
)


def width_one() -> nn.Module:
    torch.manual_seed(1)
    layers = [nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1), nn.Tanh(), nn.Linear(1, 3), nn.ReLU()]
    return lively(nn.Sequential(*layers, nn.Linear(3, 2)), 1)


WIDTH_ONE = Case(
    name="MLP with a width-1 layer",
    build=width_one,
    inputs=lambda: (numbers(4, 4),),
    hidden=lambda: [
        *(
            Expected(kind="neuron", incoming=rows("0", i), outgoing=columns("2", i))
            for i in (0, 1, 2)
        ),
        Expected(
            kind="neuron",
            incoming=rows("2", 0),
            outgoing=columns("4", 0),
            idle=rows("0", np.s_[0:3]),  # nothing else reads the first layer
        ),
        *(
            Expected(kind="neuron", incoming=rows("4", i), outgoing=columns("6", i))
            for i in (0, 1, 2)
        ),
    ],
    output=lambda: heads("6", 2),
)


class TwoInputs(nn.Module):
    """Two branches, joined side by side; the second joins as it is, without a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(3, 2)
        self.right = nn.Linear(4, 3)
        self.head = nn.Linear(2 + 3 + 4, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        joined_up = torch.cat([torch.relu(self.left(a)), torch.tanh(self.right(b)), b], dim=1)
        return self.head(joined_up)


def two_inputs() -> nn.Module:
    torch.manual_seed(2)
    return lively(TwoInputs(), 2)


TWO_INPUTS = Case(
    name="two inputs",
    build=two_inputs,
    inputs=lambda: (numbers(4, 3), numbers(4, 4, seed=2)),
    hidden=lambda: [
        *(
            Expected(kind="neuron", incoming=rows("left", i), outgoing=columns("head", i))
            for i in (0, 1)
        ),
        *(
            Expected(kind="neuron", incoming=rows("right", i), outgoing=columns("head", 2 + i))
            for i in (0, 1, 2)
        ),
    ],
    output=lambda: heads("head", 2),
)


class TwoHeads(nn.Module):
    """One trunk read by two heads; one of them has a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 3)
        self.first = nn.Linear(3, 2)
        self.inner = nn.Linear(3, 4)
        self.second = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        trunk = nn.functional.gelu(self.trunk(x))
        return {"first": self.first(trunk), "second": self.second(torch.relu(self.inner(trunk)))}


def two_heads() -> nn.Module:
    torch.manual_seed(3)
    return lively(TwoHeads(), 3)


TWO_HEADS = Case(
    name="two heads",
    build=two_heads,
    inputs=lambda: (numbers(4, 4),),
    hidden=lambda: [
        *(
            Expected(
                kind="neuron",
                incoming=rows("trunk", i),
                outgoing=joined(columns("first", i), columns("inner", i)),
            )
            for i in (0, 1, 2)
        ),
        *(
            Expected(kind="neuron", incoming=rows("inner", i), outgoing=columns("second", i))
            for i in (0, 1, 2, 3)
        ),
    ],
    output=lambda: [*heads("first", 2), *heads("second", 1)],
)


def batch_norm() -> nn.Module:
    torch.manual_seed(4)
    first = [nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU()]
    second = [nn.Linear(4, 3), nn.ReLU(), nn.BatchNorm1d(3, affine=False)]
    return lively(nn.Sequential(*first, *second, nn.Linear(3, 2)), 4)


BATCH_NORM = Case(
    name="MLP with BatchNorm1d",
    build=batch_norm,
    inputs=lambda: (numbers(4, 5),),
    hidden=lambda: [
        *(
            Expected(
                kind="neuron",
                incoming=joined(rows("0", i, bias=False), rows("1", i)),
                outgoing=columns("3", i),
            )
            for i in range(4)
        ),
        *(  # the second norm has no parameters: zero becomes -mean/sd
            Expected(kind="neuron", incoming=rows("3", i), outgoing=columns("6", i), silent=False)
            for i in range(3)
        ),
    ],
    output=lambda: heads("6", 2),
)


def layer_norm() -> nn.Module:
    torch.manual_seed(5)
    layers = [nn.Linear(5, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU()]
    return lively(nn.Sequential(*layers, nn.Linear(3, 2)), 5)


LAYER_NORM = Case(
    name="MLP with LayerNorm between linear and activation",
    build=layer_norm,
    inputs=lambda: (numbers(4, 5),),
    hidden=lambda: [
        Expected(kind="neuron", incoming=rows("3", i), outgoing=columns("5", i)) for i in range(3)
    ],
    output=lambda: heads("5", 2),
    refused={"0": "norm"},
    unowned=("1.weight", "1.bias"),
)


def prelu() -> nn.Module:
    torch.manual_seed(6)
    first = [nn.Linear(5, 4), nn.PReLU(4)]
    second = [nn.Linear(4, 3), nn.PReLU()]
    return lively(nn.Sequential(*first, *second, nn.Linear(3, 2)), 6)


PRELU = Case(
    name="PReLU: one slope a neuron, and one slope for all",
    build=prelu,
    inputs=lambda: (numbers(4, 5),),
    hidden=lambda: [
        *(
            Expected(
                kind="neuron",
                incoming=joined(rows("0", i), {"1.weight": [np.s_[i]]}),
                outgoing=columns("2", i),
            )
            for i in range(4)
        ),
        *(
            Expected(kind="neuron", incoming=rows("2", i), outgoing=columns("4", i))
            for i in (0, 1, 2)
        ),
    ],
    output=lambda: heads("4", 2),
    unowned=("3.weight",),
)


def softmax() -> nn.Module:
    torch.manual_seed(8)
    layers = [nn.Linear(4, 3), nn.Softmax(dim=1), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)]
    return lively(nn.Sequential(*layers), 8)


SOFTMAX = Case(
    name="softmax between two linears",
    build=softmax,
    inputs=lambda: (numbers(4, 4),),
    hidden=lambda: [
        Expected(kind="neuron", incoming=rows("2", i), outgoing=columns("4", i)) for i in range(4)
    ],
    output=lambda: heads("4", 2),
    refused={"0": "softmax|mix"},  # each neuron changes the denominator of all
)

MLPS = [PLAIN, WIDTH_ONE, TWO_INPUTS, TWO_HEADS, BATCH_NORM, LAYER_NORM, PRELU, SOFTMAX]
