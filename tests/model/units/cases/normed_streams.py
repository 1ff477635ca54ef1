"""Residual streams of channels whose norms join places or channels, beside a sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tests.model.units.expected import Case, Expected, columns, heads, joined, lively, numbers, rows


class PreActivation(nn.Module):
    """A stem, one block ``x + conv2(relu(conv1(relu(norm(x)))))``, a norm and a head."""

    def __init__(self, norm: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norm1, self.norm2 = norm(), norm()
        self.conv1 = nn.Conv2d(4, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.conv2(torch.relu(self.conv1(torch.relu(self.norm1(x)))))
        return self.head(torch.relu(self.norm2(x)).mean(dim=(2, 3)))


def pre_activation(name: str, norm: Callable[[], nn.Module], parts: Sequence[slice]) -> Case:
    """Return the case of one norm, which joins these channels of the stream."""

    def build() -> nn.Module:
        torch.manual_seed(57)
        return lively(PreActivation(norm), 57)

    def hidden() -> list[Expected]:
        writers = ("stem", "norm1", "conv2", "norm2")
        stream = [
            Expected(
                kind="residual",
                incoming=joined(*(rows(writer, part) for writer in writers)),
                outgoing=joined(columns("conv1", part), columns("head", part)),
            )
            for part in parts
        ]
        inner = [
            Expected(kind="channel", incoming=rows("conv1", c), outgoing=columns("conv2", c))
            for c in range(3)
        ]
        return stream + inner

    return Case(
        name=name,
        build=build,
        inputs=lambda: (numbers(3, 2, 4, 4),),
        hidden=hidden,
        output=lambda: heads("head", 2),
    )


INSTANCE_NORM_STREAM = pre_activation(
    "InstanceNorm in a residual stream",
    lambda: nn.InstanceNorm2d(4, affine=True),
    [np.s_[c : c + 1] for c in range(4)],
)
GROUP_NORM_STREAM = pre_activation(
    "GroupNorm in a residual stream",
    lambda: nn.GroupNorm(2, 4),
    [np.s_[0:2], np.s_[2:4]],
)


class NormedSum(nn.Module):
    """A stem and ``relu(x + GroupNorm(conv2(relu(conv1(x)))))``: the norm is before the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.conv1 = nn.Conv2d(4, 3, 3, padding=1)
        self.conv2, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.norm(self.conv2(torch.relu(self.conv1(x)))))
        return self.head(x.mean(dim=(2, 3)))


def normed_sum() -> nn.Module:
    torch.manual_seed(58)
    return lively(NormedSum(), 58)


NORMED_SUM = Case(
    name="GroupNorm before the sum of a residual stream",
    build=normed_sum,
    inputs=lambda: (numbers(3, 2, 4, 4),),
    hidden=lambda: [
        *(
            Expected(
                kind="residual",
                incoming=joined(*(rows(name, pair) for name in ("stem", "conv2", "norm"))),
                outgoing=joined(columns("conv1", pair), columns("head", pair)),
            )
            for pair in (np.s_[0:2], np.s_[2:4])
        ),
        *(
            Expected(kind="channel", incoming=rows("conv1", c), outgoing=columns("conv2", c))
            for c in range(3)
        ),
    ],
    output=lambda: heads("head", 2),
)

NORMED_STREAMS = [INSTANCE_NORM_STREAM, GROUP_NORM_STREAM, NORMED_SUM]
