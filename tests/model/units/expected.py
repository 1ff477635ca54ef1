"""Expected units of a small model, written by hand: which parameter entries one unit owns.

A unit's *incoming* entries write it (rows, biases, per-channel parameters on the way), its
*outgoing* entries read it (columns). Both become zero when the unit is ablated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Index = int | slice | tuple[int | slice, ...]
"""One subscript of a parameter, written with ``np.s_``: ``parameter[index]`` are its entries."""

Entries = Mapping[str, Sequence[Index]]
"""Subscripts by parameter name, as ``model.named_parameters()`` spells it."""


Entry = tuple[str, int]
"""One number of a parameter: the parameter's name and the place in ``parameter.flatten()``."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """One unit.

    Attributes:
        kind: "neuron", "channel", "head" or "residual".
        incoming: Entries that write it.
        outgoing: Entries that read it; an entry can be both (a recurrent weight, a tied one).
        silent: Whether zeroing the incoming entries alone makes the unit's value zero: not so
            behind a sigmoid, or for a query head, whose values are shared.
        idle: Entries that lose all influence with the unit and yet stay as they are.
    """

    kind: str
    incoming: Entries
    outgoing: Entries = field(default_factory=dict)
    silent: bool = True
    idle: Entries = field(default_factory=dict)

    @property
    def entries(self) -> Entries:
        """Everything that becomes zero; an entry that comes in and goes out is listed once."""
        return joined(self.incoming, self.outgoing)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One small model and its units.

    Attributes:
        name: Words for a test's id.
        build: Makes the model, seeded inside.
        inputs: Positional arguments of ``forward``, a batch of 3 or 4, the same at every call.
        hidden: All hidden and residual units.
        output: All output units: a row of a head and its bias.
        refused: Layer (module path or parameter name) -> regular expression that the reason for
            having no unit there must contain.
        unowned: Parameters that belong to the incoming entries of no unit though nothing is
            refused: norms over the channels, keys and values shared by query heads, directions of
            weight norm.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Any, ...]]
    hidden: Callable[[], list[Expected]]
    output: Callable[[], list[Expected]]
    refused: Mapping[str, str] = field(default_factory=dict)
    unowned: Sequence[str] = ()


def joined(*parts: Entries) -> dict[str, Sequence[Index]]:
    """Join entries; a subscript named twice is listed once."""
    together: dict[str, list[Index]] = {}
    for part in parts:
        for name, indices in part.items():
            known = together.setdefault(name, [])
            known.extend(index for index in indices if index not in known)
    return dict(together)


def rows(layer: str, index: int | slice, *, bias: bool = True) -> Entries:
    """Return the row(s) of a layer's weight and the entries of its bias; norms work alike."""
    weight: Entries = {f"{layer}.weight": [index]}
    return joined(weight, {f"{layer}.bias": [index]}) if bias else weight


def columns(layer: str, index: int | slice) -> Entries:
    """Return the column(s) of a layer's weight."""
    return {f"{layer}.weight": [(slice(None), index)]}


def heads(layer: str, n: int, kind: str = "neuron", *, bias: bool = True) -> list[Expected]:
    """Return the output units of a layer with ``n`` rows."""
    return [Expected(kind=kind, incoming=rows(layer, row, bias=bias)) for row in range(n)]


def mask_of(parameter: Tensor, indices: Sequence[Index]) -> Tensor:
    """Return a boolean tensor, shaped as ``parameter``, that is true at ``indices``."""
    mask = torch.zeros_like(parameter, dtype=torch.bool)
    for index in indices:
        mask[index] = True
    return mask


def entry_set(model: nn.Module, entries: Entries) -> frozenset[Entry]:
    """Return the single entries, so that units can be compared however they are written."""
    parameters = dict(model.named_parameters())
    return frozenset(
        (name, place)
        for name, indices in entries.items()
        for place in mask_of(parameters[name], indices).flatten().nonzero().flatten().tolist()
    )


@torch.no_grad()
def lively(model: nn.Module, seed: int) -> nn.Module:
    """Draw every parameter and running statistic, so that no bias is zero and no norm trivial."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.6)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
        if name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model


def numbers(*shape: int, seed: int = 1) -> Tensor:
    """Draw normal numbers, the same at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tokens(*shape: int, below: int, seed: int = 1) -> Tensor:
    """Draw whole numbers from 0 to ``below - 1``, the same at every call."""
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(seed))
