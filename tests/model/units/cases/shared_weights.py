"""Weights with a life of their own: normalised, tied, used twice, frozen."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from tests.model.units.expected import Case, Expected, columns, heads, joined, lively, numbers, rows


def weight_normed() -> nn.Module:
    torch.manual_seed(80)
    first = [weight_norm(nn.Linear(5, 4)), nn.ReLU(), nn.Linear(4, 3), nn.Tanh()]
    return lively(
        nn.Sequential(*first, weight_norm(nn.Linear(3, 4)), nn.ReLU(), nn.Linear(4, 2)), 80
    )


WEIGHT_NORM = Case(
    name="weight norm",
    build=weight_normed,
    inputs=lambda: (numbers(4, 5),),
    hidden=lambda: [
        # A row is its length times its direction; the length makes it zero, the direction stays.
        Expected(
            kind="neuron",
            incoming={f"{layer}.parametrizations.weight.original0": [i], f"{layer}.bias": [i]},
            outgoing=columns(reader, i),
            idle={f"{layer}.parametrizations.weight.original1": [i]},
        )
        for layer, reader in (("0", "2"), ("4", "6"))
        for i in range(4)
    ],
    output=lambda: heads("6", 2),
    # A row of the reading layer has a length of its own: its other entries would grow.
    refused={"2": "weight norm"},
    unowned=[f"{layer}.parametrizations.weight.original1" for layer in ("0", "4")],
)


class TiedAutoencoder(nn.Module):
    """A decoder that multiplies by the encoder's weight, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(5, 3)
        self.decoder_bias = nn.Parameter(torch.zeros(5))

    def forward(self, x: Tensor) -> Tensor:
        code = torch.relu(self.encoder(x))
        return nn.functional.linear(code, self.encoder.weight.t(), self.decoder_bias)


def tied_autoencoder() -> nn.Module:
    torch.manual_seed(81)
    return lively(TiedAutoencoder(), 81)


TIED_AUTOENCODER = Case(
    name="tied autoencoder",
    build=tied_autoencoder,
    inputs=lambda: (numbers(4, 5),),
    hidden=lambda: [
        Expected(kind="neuron", incoming=rows("encoder", i), outgoing={"encoder.weight": [i]})
        for i in range(3)
    ],
    output=lambda: [],
    # The column that writes an output also reads an input.
    refused={"decoder_bias": "tied"},
)


class UsedTwice(nn.Module):
    """A stem, one square layer applied twice, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.head = nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.stem(x))
        return self.head(torch.tanh(self.shared(torch.tanh(self.shared(x)))))


def used_twice() -> nn.Module:
    torch.manual_seed(82)
    return lively(UsedTwice(), 82)


USED_TWICE = Case(
    name="shared linear used twice",
    build=used_twice,
    inputs=lambda: (numbers(4, 4),),
    hidden=lambda: [
        # Row i writes neuron i of both uses; column i reads neuron i of the stem and of the
        # first use. They can be cut off together only: one unit.
        Expected(
            kind="neuron",
            incoming=joined(rows("stem", i), rows("shared", i)),
            outgoing=joined(columns("shared", i), columns("head", i)),
        )
        for i in range(3)
    ],
    output=lambda: heads("head", 2),
)


class Siamese(nn.Module):
    """One encoder for two inputs, whose codes a head reads side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Linear(4, 3), nn.Linear(6, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        codes = [torch.relu(self.encoder(x)) for x in (a, b)]
        return self.head(torch.cat(codes, dim=1))


def siamese() -> nn.Module:
    torch.manual_seed(83)
    return lively(Siamese(), 83)


SIAMESE = Case(
    name="one encoder for two inputs",
    build=siamese,
    inputs=lambda: (numbers(4, 4), numbers(4, 4, seed=2)),
    hidden=lambda: [
        Expected(
            kind="neuron",
            incoming=rows("encoder", i),
            outgoing=joined(columns("head", i), columns("head", 3 + i)),
        )
        for i in range(3)
    ],
    output=lambda: heads("head", 2),
)


def frozen() -> nn.Module:
    torch.manual_seed(84)
    layers = [nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3), nn.Tanh()]
    model = lively(nn.Sequential(*layers, nn.Linear(3, 2)), 84)
    model[2].requires_grad_(False)
    return model


FROZEN = Case(
    name="frozen layer",
    build=frozen,
    inputs=lambda: (numbers(4, 4),),
    hidden=lambda: [
        Expected(kind="neuron", incoming=rows("4", i), outgoing=columns("6", i)) for i in range(3)
    ],
    output=lambda: heads("6", 2),
    refused={"0": "frozen", "2": "frozen"},  # columns of layer 2, and its rows
)


class FrozenNorm(nn.Module):
    """A channel with a frozen norm on its way; another, after it, without."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3)
        self.after, self.head = nn.Conv2d(3, 2, 2), nn.Linear(2, 2)
        self.norm.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.after(torch.relu(self.norm(self.conv(x)))))
        return self.head(x.mean(dim=(2, 3)))


def frozen_norm() -> nn.Module:
    torch.manual_seed(85)
    return lively(FrozenNorm(), 85)


FROZEN_NORM = Case(
    name="frozen norm on the way",
    build=frozen_norm,
    inputs=lambda: (numbers(3, 1, 4, 4),),
    hidden=lambda: [
        Expected(kind="channel", incoming=rows("after", c), outgoing=columns("head", c))
        for c in (0, 1)
    ],
    output=lambda: heads("head", 2),
    refused={"conv": "frozen"},
    unowned=("norm.weight", "norm.bias"),
)


class LowRank(nn.Module):
    """A frozen linear layer with a trainable correction of rank 2 beside it."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.base = nn.Linear(n_in, n_out).requires_grad_(False)
        self.down, self.up = nn.Linear(n_in, 2, bias=False), nn.Linear(2, n_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 4.0 * self.up(self.down(x))


def low_rank() -> nn.Module:
    torch.manual_seed(86)
    return lively(nn.Sequential(LowRank(4, 3), nn.ReLU(), nn.Linear(3, 2)), 86)


LOW_RANK = Case(
    name="low-rank adapter beside a frozen layer",
    build=low_rank,
    inputs=lambda: (numbers(4, 4),),
    hidden=lambda: [
        Expected(kind="neuron", incoming=rows("0.down", i, bias=False), outgoing=columns("0.up", i))
        for i in (0, 1)
    ],
    output=lambda: heads("2", 2),
    refused={"0.base": "frozen", "0.up": "frozen"},  # both write the neurons that the head reads
)

SHARED_WEIGHTS = [
    WEIGHT_NORM,
    TIED_AUTOENCODER,
    USED_TWICE,
    SIAMESE,
    FROZEN,
    FROZEN_NORM,
    LOW_RANK,
]
