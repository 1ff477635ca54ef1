"""Tracing a torch model: build it, run two forwards, name its parts, copy its gradient graph.

The `Trace` is plain data, the same for every framework, so everything behind it is shared.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from antifragile.ablate.frameworks.randomness import seed_everything
from antifragile.ablate.frameworks.torch.assembly import TorchAssembly
from antifragile.ablate.frameworks.torch.gradients import Graph
from antifragile.ablate.frameworks.torch.names import all_parameters
from antifragile.ablate.frameworks.torch.recorder import TorchRecorder
from antifragile.ablate.records import Project
from antifragile.ablate.trace.batch import FoundBatch, Samples, find_batch
from antifragile.ablate.trace.nested import tensors_in
from antifragile.ablate.trace.notes import Phase
from antifragile.ablate.trace.records import Trace
from antifragile.ablate.trace.session import call_entry, read_sources

_SEED = 0
_IDLE = 1e-3  # parameters this small everywhere let pass next to nothing


def trace_torch(project: Project) -> Trace:
    """Run the model once and note what every site did."""
    recorder = TorchRecorder(read_sources(project))
    torch.manual_seed(_SEED)
    with recorder.watching(project.root):
        model = call_entry(project, project.build)
        parameters = all_parameters(model, project.root)
        recorder.parameters = {id(value): name for name, value in parameters.items()}
        given = call_entry(project, project.inputs)
        leaves, inputs = attached(given)
        with recorder.forward(Phase.TRAIN, "training"):
            outputs = model.train()(*inputs)
        with recorder.forward(Phase.EVAL, "evaluation"), torch.no_grad():
            model.eval()(*copy.deepcopy(given))
        graph = Graph(tensors_in(outputs, recorder.is_tensor))
        if project.step is not None:  # for the sites that only it reaches
            call_entry(project, project.step, model.train(), *call_entry(project, project.inputs))
        recorder.found = batch_of(recorder, model, given, list(parameters.values()))
    return TorchAssembly(recorder, model, parameters, graph, leaves).trace(project, given, outputs)


def attached(given: Iterable[Any]) -> tuple[list[Tensor], list[Any]]:
    """Return leaves with gradients for the floating inputs, and non-leaf copies to feed in."""
    leaves, inputs = [], []
    for value in given:
        if isinstance(value, Tensor) and value.is_floating_point():
            leaf = value.detach().clone().requires_grad_()
            leaves.append(leaf)
            inputs.append(leaf.clone())
        else:
            inputs.append(copy.deepcopy(value))
    return leaves, inputs


def batch_of(
    recorder: TorchRecorder, model: nn.Module, given: Any, parameters: Sequence[Tensor]
) -> FoundBatch:
    """Find the batch axis by further forwards in evaluation mode, in which shapes are noted."""
    leaves = [item for item in tensors_in(given, recorder.is_tensor) if is_plain(item)]
    floating = [item for item in (*parameters, *leaves) if item.is_floating_point()]

    def run(some: Sequence[Tensor], phase: Phase) -> list[Any]:
        new = {id(leaf): item.detach().clone() for leaf, item in zip(leaves, some, strict=True)}
        seed_everything(_SEED)
        with recorder.noting_shapes(phase), torch.no_grad():
            outputs = model.eval()(*copy.deepcopy(given, new))
        return [recorder.array(item) for item in tensors_in(outputs, recorder.is_tensor)]

    unit = max((float(torch.finfo(item.dtype).eps) for item in floating), default=0.0)
    with awake(parameters), every_layer_called():
        return find_batch(leaves, run, taken, unit)


def taken(tensor: Tensor, axis: int, samples: Samples) -> Tensor:
    """Take samples of a tensor along an axis; one made up is the first, all else in it reversed."""
    places = [item or 0 for item in samples.taken]
    found = tensor.detach().index_select(axis, torch.tensor(places, device=tensor.device))
    others = [other for other in range(tensor.ndim) if other != axis]
    for place, item in enumerate(samples.taken):
        if item is None:
            found.select(axis, place).copy_(tensor.detach().flip(others).select(axis, 0))
    return found


@contextmanager
def awake(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Give parameters that are all zero or all the same other values for a while.

    What is multiplied by zero at initialisation would not show that it mixes samples.
    """
    generator, before = torch.Generator().manual_seed(_SEED), []
    try:
        for tensor in parameters:
            if is_idle(tensor):
                before.append((tensor, tensor.detach().clone()))
                fan_in = tensor[0].numel() if tensor.ndim > 1 else 100
                noise = torch.randn(tensor.shape, generator=generator).to(tensor) * fan_in**-0.5
                away = noise.abs() * tensor.sign()  # no sign changes: it may enter a logarithm
                tensor.data.add_(torch.where(tensor == 0, noise, away).detach())
        yield
    finally:
        for tensor, old in before:
            tensor.data.copy_(old)


@contextmanager
def every_layer_called() -> Iterator[None]:
    """Keep torch from computing encoder layers as a whole, past the layers inside, for a while."""
    was_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)


def is_idle(tensor: Tensor) -> bool:
    """Whether a parameter is the same everywhere, or next to zero."""
    if not is_plain(tensor) or not tensor.is_floating_point() or not tensor.numel():
        return False
    low, high = (float(bound) for bound in torch.aminmax(tensor.detach()))
    return low == high or max(-low, high) < _IDLE


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is none of another layout or kind, as nested and sparse ones are."""
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.layout is torch.strided
        and not (tensor.is_nested or tensor.is_quantized)
    )
