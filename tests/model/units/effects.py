"""Effects of zeroing or redrawing entries of a model on what it computes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tests.model.units.expected import Case, Entries, Entry, Expected, Index, mask_of

LARGE = 8.0


@torch.no_grad()
def outputs_of(model: nn.Module, case: Case) -> list[Tensor]:
    return flat(model(*case.inputs()))


def flat(output: Any) -> list[Tensor]:
    """Return the tensors of a model's output, whatever they are packed in."""
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output
    return [tensor for part in parts for tensor in flat(part)]


def identical(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    assert all(tensor.isfinite().all() for tensor in [*ours, *theirs])
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def each_subscript(entries: Entries) -> Iterator[tuple[str, Index]]:
    for name, indices in entries.items():
        for index in indices:
            yield name, index


@torch.no_grad()
def zero(model: nn.Module, entries: Entries) -> None:
    parameters = dict(model.named_parameters())
    for name, index in each_subscript(entries):
        parameters[name][index] = 0


@torch.no_grad()
def draw_incoming(model: nn.Module, unit: Expected, *, seed: int) -> None:
    """Give large random values to what comes in, save for what goes out as well."""
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(model.named_parameters())
    for name, indices in unit.incoming.items():
        parameter = parameters[name]
        drawn = mask_of(parameter, indices) & ~mask_of(parameter, unit.outgoing.get(name, ()))
        values = torch.randn(parameter.shape, generator=generator).to(parameter) * LARGE
        parameter.copy_(torch.where(drawn, values, parameter))


def influential(model: nn.Module, case: Case, *, above: float) -> set[Entry]:
    """Return the entries that a random weighting of all outputs has a gradient for."""
    model.requires_grad_(True).zero_grad()
    inputs = [x.double() if x.is_floating_point() else x for x in case.inputs()]
    generator = torch.Generator().manual_seed(0)
    for output in flat(model(*inputs)):
        weights = torch.randn(output.shape, generator=generator)
        (output * weights).sum().backward(retain_graph=True)
    return {
        (name, entry)
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
        for entry in (parameter.grad.abs() > above).flatten().nonzero().flatten().tolist()
    }
