"""Convolutional networks with skips: residual, dense, U-shaped, squeeze-and-excitation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.model.units.expected import Case, Expected, columns, heads, joined, lively, numbers, rows


class BasicBlock(nn.Module):
    """Two convolutions with BatchNorm, and a skip that may change size."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample = None
        if stride > 1:
            skip = nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(skip, nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.bn1(self.conv1(x)))
        skip = x if self.downsample is None else self.downsample(x)
        return torch.relu(self.bn2(self.conv2(inner)) + skip)


class ResNet(nn.Module):
    """A stem, a block of 3 channels, a block that goes from 3 to 4 channels, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(3)
        self.block1 = BasicBlock(3, 3, 1)
        self.block2 = BasicBlock(3, 4, 2)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.conv(x)))
        x = self.block2(self.block1(x))
        return self.head(x.mean(dim=(2, 3)))


def resnet() -> nn.Module:
    torch.manual_seed(20)
    return lively(ResNet(), 20)


RESNET = Case(
    name="ResNet with two basic blocks and a downsample",
    build=resnet,
    inputs=lambda: (numbers(3, 2, 4, 4),),
    hidden=lambda: [
        *(
            Expected(
                kind="residual",
                incoming=joined(
                    rows("conv", c, bias=False),
                    rows("bn", c),
                    rows("block1.conv2", c, bias=False),
                    rows("block1.bn2", c),
                ),
                outgoing=joined(
                    columns("block1.conv1", c),
                    columns("block2.conv1", c),
                    columns("block2.downsample.0", c),
                ),
            )
            for c in range(3)
        ),
        *(
            Expected(
                kind="channel",
                incoming=joined(rows("block1.conv1", c, bias=False), rows("block1.bn1", c)),
                outgoing=columns("block1.conv2", c),
            )
            for c in range(3)
        ),
        *(
            Expected(
                kind="channel",
                incoming=joined(rows("block2.conv1", c, bias=False), rows("block2.bn1", c)),
                outgoing=columns("block2.conv2", c),
            )
            for c in range(4)
        ),
        *(
            Expected(
                kind="residual",
                incoming=joined(
                    rows("block2.conv2", c, bias=False),
                    rows("block2.bn2", c),
                    rows("block2.downsample.0", c, bias=False),
                    rows("block2.downsample.1", c),
                ),
                outgoing=columns("head", c),
            )
            for c in range(4)
        ),
    ],
    output=lambda: heads("head", 2),
)


class DenseNet(nn.Module):
    """Each layer reads all channels made so far, through a norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1)
        self.norm1, self.conv1 = nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3, padding=1)
        self.norm2, self.conv2 = nn.BatchNorm2d(5), nn.Conv2d(5, 2, 3, padding=1)
        self.norm3, self.head = nn.BatchNorm2d(7), nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        one = self.conv1(torch.relu(self.norm1(stem)))
        two = self.conv2(torch.relu(self.norm2(torch.cat([stem, one], 1))))
        every = torch.relu(self.norm3(torch.cat([stem, one, two], 1)))
        return self.head(every.amax(dim=(2, 3)))


def dense_net() -> nn.Module:
    torch.manual_seed(21)
    return lively(DenseNet(), 21)


DENSE_NET = Case(
    name="DenseNet-like concatenation",
    build=dense_net,
    inputs=lambda: (numbers(3, 1, 4, 4),),
    hidden=lambda: [
        *(
            Expected(
                kind="channel",
                incoming=joined(
                    rows("stem", c), rows("norm1", c), rows("norm2", c), rows("norm3", c)
                ),
                outgoing=joined(columns("conv1", c), columns("conv2", c), columns("head", c)),
            )
            for c in range(3)
        ),
        *(
            Expected(
                kind="channel",
                incoming=joined(rows("conv1", c), rows("norm2", 3 + c), rows("norm3", 3 + c)),
                outgoing=joined(columns("conv2", 3 + c), columns("head", 3 + c)),
            )
            for c in (0, 1)
        ),
        *(
            Expected(
                kind="channel",
                incoming=joined(rows("conv2", c), rows("norm3", 5 + c)),
                outgoing=columns("head", 5 + c),
            )
            for c in (0, 1)
        ),
    ],
    output=lambda: heads("head", 2),
)


class UNet(nn.Module):
    """One level down and up again, with a skip that is laid beside what comes up."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 3, 3, padding=1)
        self.middle = nn.Conv2d(3, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.merge = nn.Conv2d(2 + 3, 3, 3, padding=1)
        self.head = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = torch.relu(self.down(x))
        low = torch.relu(self.middle(nn.functional.max_pool2d(skip, 2)))
        return self.head(torch.relu(self.merge(torch.cat([self.up(low), skip], dim=1))))


def u_net() -> nn.Module:
    torch.manual_seed(22)
    return lively(UNet(), 22)


U_NET = Case(
    name="U-Net-like skip",
    build=u_net,
    inputs=lambda: (numbers(3, 1, 4, 4),),
    hidden=lambda: [
        *(
            Expected(
                kind="channel",
                incoming=rows("down", c),
                outgoing=joined(columns("middle", c), columns("merge", 2 + c)),
            )
            for c in range(3)
        ),
        *(
            Expected(kind="channel", incoming=rows("middle", c), outgoing={"up.weight": [c]})
            for c in range(4)
        ),
        *(
            Expected(
                kind="channel",
                incoming=joined(columns("up", c), {"up.bias": [c]}),
                outgoing=columns("merge", c),
            )
            for c in (0, 1)
        ),
        *(
            Expected(kind="channel", incoming=rows("merge", c), outgoing=columns("head", c))
            for c in range(3)
        ),
    ],
    output=lambda: heads("head", 2, "channel"),
)


class SqueezeExcitation(nn.Module):
    """A convolution whose channels are weighed by what all of them hold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
        self.squeeze, self.excite = nn.Linear(4, 3), nn.Linear(3, 4)
        self.after = nn.Conv2d(4, 3, 2)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean(dim=(2, 3))))))
        x = torch.relu(self.after(x * gate[:, :, None, None]))
        return self.head(x.mean(dim=(2, 3)))


def squeeze_excitation() -> nn.Module:
    torch.manual_seed(23)
    return lively(SqueezeExcitation(), 23)


SQUEEZE_EXCITATION = Case(
    name="squeeze-and-excitation",
    build=squeeze_excitation,
    inputs=lambda: (numbers(3, 2, 4, 4),),
    hidden=lambda: [
        *(
            Expected(
                kind="channel",
                incoming=joined(rows("conv", c), rows("norm", c), rows("excite", c)),
                outgoing=joined(columns("squeeze", c), columns("after", c)),
            )
            for c in range(4)
        ),
        *(
            Expected(kind="neuron", incoming=rows("squeeze", i), outgoing=columns("excite", i))
            for i in range(3)
        ),
        *(
            Expected(kind="channel", incoming=rows("after", c), outgoing=columns("head", c))
            for c in range(3)
        ),
    ],
    output=lambda: heads("head", 2),
)

SKIPS = [RESNET, DENSE_NET, U_NET, SQUEEZE_EXCITATION]
