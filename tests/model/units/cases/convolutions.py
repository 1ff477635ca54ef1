"""Convolutional networks without skips: pools, groups, norms, transposed, memory layouts."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tests.model.units.expected import Case, Expected, columns, heads, joined, lively, numbers, rows


def conv_net() -> nn.Module:
    torch.manual_seed(10)
    features = [nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)]
    dense = [nn.Flatten(), nn.Linear(3 * 2 * 2, 5), nn.ReLU(), nn.Linear(5, 2)]
    return lively(nn.Sequential(*features, *dense), 10)


CONV_NET = Case(
    name="ConvNet with BatchNorm, max-pool, flatten, linear",
    build=conv_net,
    inputs=lambda: (numbers(3, 1, 4, 4),),
    hidden=lambda: [
        *(
            Expected(
                kind="channel",
                incoming=joined(rows("0", c), rows("1", c)),
                outgoing=columns("5", np.s_[4 * c : 4 * c + 4]),  # the 2 x 2 pixels of channel c
            )
            for c in range(3)
        ),
        *(
            Expected(kind="neuron", incoming=rows("5", i), outgoing=columns("7", i))
            for i in range(5)
        ),
    ],
    output=lambda: heads("7", 2),
)


def strided() -> nn.Module:
    torch.manual_seed(11)
    layers = [nn.Conv1d(2, 3, 3, stride=2), nn.GELU(), nn.Conv1d(3, 4, 2), nn.ReLU()]
    pooled = [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)]
    return lively(nn.Sequential(*layers, *pooled), 11)


STRIDED = Case(
    name="strided convolution and global average pool",
    build=strided,
    inputs=lambda: (numbers(3, 2, 9),),
    hidden=lambda: [
        *(
            Expected(kind="channel", incoming=rows("0", c), outgoing=columns("2", c))
            for c in range(3)
        ),
        *(
            Expected(kind="channel", incoming=rows("2", c), outgoing=columns("6", c))
            for c in range(4)
        ),
    ],
    output=lambda: heads("6", 2),
)


def grouped() -> nn.Module:
    torch.manual_seed(12)
    layers = [nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 2, groups=2), nn.ReLU()]
    return lively(nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 2)), 12)


GROUPED = Case(
    name="grouped convolution",
    build=grouped,
    inputs=lambda: (numbers(3, 2, 4, 4),),
    hidden=lambda: [
        # 6 channels in 2 groups of 3; group 0 makes rows 0 and 1, group 1 makes rows 2 and 3.
        *(
            Expected(
                kind="channel",
                incoming=rows("0", c),
                outgoing={"2.weight": [np.s_[0:2, c] if c < 3 else np.s_[2:4, c - 3]]},
            )
            for c in range(6)
        ),
        *(
            Expected(kind="channel", incoming=rows("2", c), outgoing=columns("5", c))
            for c in range(4)
        ),
    ],
    output=lambda: heads("5", 2),
)


def shuffled() -> nn.Module:
    torch.manual_seed(13)
    layers = [nn.Conv2d(2, 6, 2), nn.ReLU(), nn.ChannelShuffle(3), nn.Conv2d(6, 2, 2)]
    return lively(nn.Sequential(*layers, nn.Flatten(), nn.ReLU(), nn.Linear(2, 2)), 13)


SHUFFLED = Case(
    name="channel shuffle",
    build=shuffled,
    inputs=lambda: (numbers(3, 2, 3, 3),),
    hidden=lambda: [
        # (0 1 | 2 3 | 4 5) transposed is 0 2 4 1 3 5: channel 1 stands at place 3, and so on.
        *(
            Expected(kind="channel", incoming=rows("0", c), outgoing=columns("3", place))
            for c, place in [(0, 0), (1, 3), (2, 1), (3, 4), (4, 2), (5, 5)]
        ),
        *(
            Expected(kind="channel", incoming=rows("3", c), outgoing=columns("6", c))
            for c in (0, 1)
        ),
    ],
    output=lambda: heads("6", 2),
)


def separable() -> nn.Module:
    torch.manual_seed(14)
    first = [nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.ReLU()]
    depth = [nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.BatchNorm2d(3), nn.ReLU6()]
    point = [nn.Conv2d(3, 4, 1, bias=False), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()]
    return lively(nn.Sequential(*first, *depth, *point, nn.Linear(4, 2)), 14)


SEPARABLE = Case(
    name="depthwise-separable convolution",
    build=separable,
    inputs=lambda: (numbers(3, 2, 4, 4),),
    hidden=lambda: [
        *(
            Expected(
                kind="channel",
                incoming=joined(rows("0", c), rows("1", c), rows("3", c), rows("4", c)),
                outgoing=columns("6", c),
            )
            for c in range(3)
        ),
        *(
            Expected(kind="channel", incoming=rows("6", c, bias=False), outgoing=columns("10", c))
            for c in range(4)
        ),
    ],
    output=lambda: heads("10", 2),
)


def group_norm() -> nn.Module:
    torch.manual_seed(15)
    layers = [nn.Conv2d(2, 6, 2), nn.GroupNorm(3, 6), nn.SiLU(), nn.Conv2d(6, 3, 2)]
    return lively(nn.Sequential(*layers, nn.Flatten(), nn.ReLU(), nn.Linear(3 * 4, 2)), 15)


GROUP_NORM = Case(
    name="GroupNorm: the unit is one norm group",
    build=group_norm,
    inputs=lambda: (numbers(3, 2, 4, 4),),
    hidden=lambda: [
        *(
            Expected(
                kind="channel",
                incoming=joined(rows("0", pair), rows("1", pair)),
                outgoing=columns("3", pair),
            )
            for pair in (np.s_[0:2], np.s_[2:4], np.s_[4:6])
        ),
        *(
            Expected(
                kind="channel",
                incoming=rows("3", c),
                outgoing=columns("6", np.s_[4 * c : 4 * c + 4]),
            )
            for c in range(3)
        ),
    ],
    output=lambda: heads("6", 2),
)


def decoder() -> nn.Module:
    torch.manual_seed(16)
    grown = [nn.Linear(3, 2 * 4), nn.ReLU(), nn.Unflatten(1, (2, 2, 2))]
    up = [nn.ConvTranspose2d(2, 3, 2, stride=2), nn.InstanceNorm2d(3, affine=True), nn.ReLU()]
    return lively(nn.Sequential(*grown, *up, nn.ConvTranspose2d(3, 2, 3)), 16)


DECODER = Case(
    name="transposed convolution decoder",
    build=decoder,
    inputs=lambda: (numbers(3, 3),),
    hidden=lambda: [
        # The linear layer's 8 neurons are read as 2 channels of 2 x 2 pixels.
        *(
            Expected(
                kind="channel",
                incoming=rows("0", np.s_[4 * c : 4 * c + 4]),
                outgoing={"3.weight": [np.s_[c]]},
            )
            for c in (0, 1)
        ),
        *(  # the weight of a transposed convolution is (in, out, height, width)
            Expected(
                kind="channel",
                incoming=joined({"3.weight": [np.s_[:, c]], "3.bias": [np.s_[c]]}, rows("4", c)),
                outgoing={"6.weight": [np.s_[c]]},
            )
            for c in range(3)
        ),
    ],
    output=lambda: [
        Expected(kind="channel", incoming={"6.weight": [np.s_[:, c]], "6.bias": [np.s_[c]]})
        for c in (0, 1)
    ],
)


def channels_last() -> nn.Module:
    torch.manual_seed(17)
    first = [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Conv2d(4, 3, 2), nn.ReLU()]
    model = lively(nn.Sequential(*first, nn.Flatten(), nn.Linear(3 * 4, 2)), 17)
    return model.to(memory_format=torch.channels_last)


CHANNELS_LAST = Case(
    name="channels_last convolution with PReLU",
    build=channels_last,
    inputs=lambda: (numbers(3, 2, 5, 5).to(memory_format=torch.channels_last),),
    hidden=lambda: [
        *(
            Expected(
                kind="channel",
                incoming=joined(rows("0", c), rows("1", c), {"2.weight": [np.s_[c]]}),
                outgoing=columns("3", c),
            )
            for c in range(4)
        ),
        *(  # flatten counts channels first, whatever the memory looks like
            Expected(
                kind="channel",
                incoming=rows("3", c),
                outgoing=columns("6", np.s_[4 * c : 4 * c + 4]),
            )
            for c in range(3)
        ),
    ],
    output=lambda: heads("6", 2),
)


def pixel_shuffle() -> nn.Module:
    torch.manual_seed(18)
    layers = [nn.Conv2d(1, 8, 2), nn.ReLU(), nn.PixelShuffle(2), nn.Conv2d(2, 2, 3)]
    return lively(nn.Sequential(*layers), 18)


PIXEL_SHUFFLE = Case(
    name="pixel shuffle: four channels become one",
    build=pixel_shuffle,
    inputs=lambda: (numbers(3, 1, 4, 4),),
    hidden=lambda: [
        Expected(kind="channel", incoming=rows("0", four), outgoing=columns("3", c))
        for c, four in enumerate((np.s_[0:4], np.s_[4:8]))
    ],
    output=lambda: heads("3", 2, "channel"),
)

CONVOLUTIONS = [
    CONV_NET,
    STRIDED,
    GROUPED,
    SHUFFLED,
    SEPARABLE,
    GROUP_NORM,
    DECODER,
    CHANNELS_LAST,
    PIXEL_SHUFFLE,
]
