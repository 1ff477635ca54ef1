"""Network shapes in the paper's notation: ``"4*4"``, ``"[2*128, 1*10, 4*16]"``.

A shape is a sequence of blocks, each ``layers * width`` (PSA paper, section II.C). Parsing
allocates nothing in proportion to the numbers it reads, so an absurd shape is refused, not built.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from antifragile.config._checks import shown
from antifragile.config.networks import Network
from antifragile.errors import ArchitectureError

MNIST_INPUTS = 784
MNIST_CLASSES = 10

_BLOCK = re.compile(r"([0-9]+)\s*\*\s*([0-9]+)", re.ASCII)
_HINT = "write layers*width as in '4*4' or '[2*128, 1*10, 4*16]'"
_MAX_DIGITS = 12
_BYTES_PER_PARAMETER = 4 * 6  # weights, gradient, two AdamW moments, LKG, candidate
_LONGEST_STEM = 60
_BYTES_PER_LAYER = 20_000  # module, tensors and autograd nodes of one Linear-ReLU-Dropout block


@dataclass(frozen=True)
class Architecture:
    """The hidden layers of an MLP, or a ResMLP's runs, as ``(layers, width)`` blocks, in order.

    Neighbouring blocks of equal width are merged, so equal networks compare equal:
    ``Architecture.parse("[1*8, 1*8]") == Architecture.parse("2*8")``.

    Example:
        >>> Architecture.parse("[2*128, 1*10]").hidden_widths
        (128, 128, 10)
        >>> Architecture.parse("1*2048").parameter_count()
        1628170
    """

    blocks: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not self.blocks:
            raise ArchitectureError(f"an architecture needs at least one block; {_HINT}.")
        for layers, width in self.blocks:
            if layers < 1 or width < 1:
                raise ArchitectureError(
                    f"block {layers}*{width} has no neurons; layers and width must be at least 1."
                )
        object.__setattr__(self, "blocks", _merge(self.blocks))

    @classmethod
    def parse(cls, text: str) -> Architecture:
        """Read the paper's ``--arch`` notation.

        Args:
            text: ``"L*W"`` or ``"[L*W, L*W, ...]"``; spaces are free.

        Raises:
            ArchitectureError: The text is malformed, or a block has no layer or no neuron.
        """
        inner = text.strip()
        if inner.startswith("[") or inner.endswith("]"):
            if not (inner.startswith("[") and inner.endswith("]")):
                raise ArchitectureError(
                    f"architecture {shown(text)} has an unpaired bracket; {_HINT}."
                )
            inner = inner[1:-1]
        elif "," in inner:
            raise ArchitectureError(
                f"architecture {shown(text)} has several blocks but no brackets; {_HINT}."
            )
        return cls(tuple(_parse_block(part, text) for part in inner.split(",")))

    @property
    def name(self) -> str:
        """The canonical text: ``"4*4"``, or ``"[2*128, 1*10]"`` for several blocks."""
        parts = [f"{layers}*{width}" for layers, width in self.blocks]
        return parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"

    @property
    def depth(self) -> int:
        """Number of hidden layers; in a ResMLP, of residual blocks."""
        return sum(layers for layers, _ in self.blocks)

    @property
    def mean_width(self) -> float:
        """Geometric mean of the widths of the hidden layers."""
        return math.exp(sum(layers * math.log(width) for layers, width in self.blocks) / self.depth)

    @cached_property
    def hidden_widths(self) -> tuple[int, ...]:
        """Neurons of each hidden layer, first to last."""
        return tuple(width for layers, width in self.blocks for _ in range(layers))

    def layer_sizes(
        self,
        n_inputs: int = MNIST_INPUTS,
        n_classes: int = MNIST_CLASSES,
        network: Network = Network.MLP,
    ) -> tuple[int, ...]:
        """Units of every linear layer from input to logits; length ``depth + 2`` for an MLP."""
        widths = (w for layers, w in self.blocks for _ in range(network.linear_layers(layers)))
        return (n_inputs, *widths, n_classes)

    def parameter_count(
        self,
        n_inputs: int = MNIST_INPUTS,
        n_classes: int = MNIST_CLASSES,
        network: Network = Network.MLP,
    ) -> int:
        """Weights and biases of the whole network.

        Source: PSA paper, equation 1, for any number of inputs and classes.
        """
        total, previous = 0, n_inputs
        for layers, width in self.blocks:
            further = network.linear_layers(layers) - 1
            total += width * (previous + 1) + further * width * (width + 1)
            previous = width
        return total + n_classes * (previous + 1)

    def memory_bytes(
        self,
        n_inputs: int = MNIST_INPUTS,
        n_classes: int = MNIST_CLASSES,
        network: Network = Network.MLP,
    ) -> int:
        """A lower bound on the memory that training one trial takes, in bytes."""
        parameters = self.parameter_count(n_inputs, n_classes, network)
        n_layers = sum(network.linear_layers(layers) for layers, _ in self.blocks)
        return parameters * _BYTES_PER_PARAMETER + n_layers * _BYTES_PER_LAYER

    def check_fits_in_memory(
        self,
        n_inputs: int = MNIST_INPUTS,
        n_classes: int = MNIST_CLASSES,
        network: Network = Network.MLP,
    ) -> None:
        """Refuse a network that this machine's memory (or its container's) cannot hold.

        Raises:
            ArchitectureError: Training would need more than the machine has.
        """
        needed, present = self.memory_bytes(n_inputs, n_classes, network), _memory_bytes_here()
        if needed > present:
            raise ArchitectureError(
                f"architecture {self.name} does not fit in memory: training it needs at least "
                f"{needed / 2**30:,.1f} GiB, this machine has {present / 2**30:,.1f} GiB; "
                "use fewer or narrower layers."
            )

    def __str__(self) -> str:
        return self.name


def matched_width(
    parameters: int,
    n_layers: int,
    n_inputs: int = MNIST_INPUTS,
    n_classes: int = MNIST_CLASSES,
) -> float:
    """Solve for the width at which ``n_layers`` equal layers have ``parameters`` parameters.

    Equation 1 for L equal layers is the quadratic
    ``(L-1) W^2 + (Nin + L + Nout) W + (Nout - P) = 0``; this returns its positive root, a real
    number for the caller to round. With one layer the equation is linear.

    Args:
        parameters: Target parameter count P.
        n_layers: Number of hidden layers L.
        n_inputs: Nin.
        n_classes: Nout.

    Raises:
        ArchitectureError: No width of at least one neuron has so few parameters.

    Note:
        The paper's own 4*W widths do not solve its equation 2; `landscape.matching_table` shows
        by how much.

    Source: PSA paper, equation 2.

    Example:
        >>> round(matched_width(1_628_170, 2))
        939
    """
    if n_layers < 1:
        raise ArchitectureError(f"matched_width needs at least one layer; got {n_layers}.")
    a, b, c = n_layers - 1, n_inputs + n_layers + n_classes, n_classes - parameters
    # The stable form of the root: no cancellation between b and the square root.
    width = -2 * c / (b + math.sqrt(max(b * b - 4 * a * c, 0)))
    if width <= 0:
        raise ArchitectureError(
            f"no network of {n_layers} layers has {parameters} parameters; "
            f"{n_classes} class biases alone need more than that."
        )
    return width


def _parse_block(part: str, text: str) -> tuple[int, int]:
    match = _BLOCK.fullmatch(part.strip())
    if match is None:
        what = f"block {part.strip()[:40]!r}" if part.strip() else "an empty block"
        raise ArchitectureError(f"architecture {shown(text)} has {what}; {_HINT}.")
    if max(map(len, match.groups())) > _MAX_DIGITS:
        raise ArchitectureError(
            f"architecture block {part.strip()[:40]!r} is larger than any memory; "
            f"numbers have at most {_MAX_DIGITS} digits."
        )
    return int(match[1]), int(match[2])


def _merge(blocks: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for layers, width in blocks:
        if merged and merged[-1][1] == width:
            merged[-1] = (merged[-1][0] + layers, width)
        else:
            merged.append((layers, width))
    return tuple(merged)


def _memory_bytes_here(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Physical memory, or a container's limit (cgroup version 2, then 1) where that is less."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no such file, or "max": no limit
            limits.append(int((cgroup / name).read_text()))
    return min(limits)


def file_stem(name: str) -> str:
    """Turn an architecture's name into a part of a file name, ``"1*64"`` into ``"1x64"``.

    A name that would become too long is replaced by a hash of it.
    """
    stem = re.sub(r"[^0-9x]+", "-", name.replace("*", "x")).strip("-")
    return stem if len(stem) <= _LONGEST_STEM else hashlib.sha256(name.encode()).hexdigest()[:16]
