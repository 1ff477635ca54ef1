"""Tracing a torch model: build it, run two forwards, name its parts, copy its gradient graph.

The `Trace` is plain data, the same for every framework, so everything behind it is shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from antifragile.ablate.frameworks.randomness import seed_everything
from antifragile.ablate.frameworks.torch import compiler
from antifragile.ablate.frameworks.torch.assembly import TorchAssembly
from antifragile.ablate.frameworks.torch.gradients import Graph
from antifragile.ablate.frameworks.torch.names import all_parameters
from antifragile.ablate.frameworks.torch.reach import is_lazy
from antifragile.ablate.frameworks.torch.recorder import TorchRecorder
from antifragile.ablate.records import Project
from antifragile.ablate.sandbox.loading import Refusal, stage
from antifragile.ablate.trace.batch import FoundBatch, Samples, find_batch
from antifragile.ablate.trace.calls import Call
from antifragile.ablate.trace.nested import tensors_in
from antifragile.ablate.trace.notes import Phase
from antifragile.ablate.trace.records import Trace
from antifragile.ablate.trace.session import (
    call_entry,
    call_inputs,
    load_entry,
    read_sources,
    run_forwards,
)

_SEED = 0
_IDLE = 1e-3  # parameters this small everywhere let pass next to nothing


def trace_torch(project: Project) -> Trace:
    """Run the model once and note what every site did."""
    compiler.install(tracing=True)
    recorder = TorchRecorder(read_sources(project))
    torch.manual_seed(_SEED)
    with recorder.watching(project.root):
        for runs_first in (False, True):
            model, given = ready(recorder, project, runs_first=runs_first)
            parameters = all_parameters(model, project.root)
            recorder.parameters = {id(value): name for name, value in parameters.items()}
            leaves, fed = attached(given)
            n_modules = len(list(model.modules()))
            outputs = run_forwards(
                recorder,
                project,
                forward=partial(_run_twice, recorder, model, fed, given),
                step=partial(_step_twice, recorder, model, given),
            )
            if len(list(model.modules())) == n_modules:
                break
            recorder.forget()  # it makes layers in its first forward
        graph = Graph(tensors_in(outputs, recorder.is_tensor, in_objects=True))
        recorder.found = batch_of(recorder, model, given, list(parameters.values()))
    return TorchAssembly(recorder, model, parameters, graph, leaves).trace(project, given, outputs)


def ready(recorder: TorchRecorder, project: Project, *, runs_first: bool) -> tuple[nn.Module, Call]:
    """Return a new model and its inputs, both from the user's functions.

    Args:
        recorder: It knows all layers before the model runs.
        project: The project.
        runs_first: Run the model once, so that what its first forward makes is there; a model with
            lazy layers is run in any case.
    """
    model: nn.Module = call_entry(project, project.build)
    given = call_inputs(project)
    if runs_first or any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        for module in model.modules():
            recorder.module_notes(module)
        with stage("the first forward pass"), torch.no_grad():
            if project.inputs is None:
                assert project.step is not None
                load_entry(project, project.step)(model.eval())
            else:
                _copied(given).output_of(model.eval())
    return model, given


def attached(given: Call) -> tuple[list[Tensor], Call]:
    """Return leaves with gradients for the floating inputs, and the call with copies of these."""
    leaves: list[Tensor] = []

    def copied(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value.clone()
        leaves.append(value.detach().clone().requires_grad_())
        return leaves[-1].clone()

    return leaves, given.changed(_is_tensor, copied)


def _run_twice(recorder: TorchRecorder, model: Any, fed: Call, given: Call) -> Any:
    """One forward on the inputs in training mode and one in evaluation mode."""
    with recorder.forward(Phase.TRAIN, "training"):
        outputs = fed.output_of(model.train())
    with recorder.forward(Phase.EVAL, "evaluation"), torch.no_grad():
        _copied(given).output_of(model.eval())
    return outputs


def _step_twice(
    recorder: TorchRecorder, model: Any, given: Call, step: Callable[..., Any], *, is_all: bool
) -> Any:
    """A step in training mode, and where nothing else runs the model one in evaluation mode."""
    if not is_all:
        return _copied(given).of(step, model.train())
    with recorder.forward(Phase.TRAIN, "training"):
        loss = _copied(given).of(step, model.train())
    with (
        suppress(Refusal),  # a step may need gradients, or the loss of training mode
        recorder.forward(Phase.EVAL, "evaluation"),
        torch.no_grad(),
    ):
        _copied(given).of(step, model.eval())
    return loss


def _copied(given: Call) -> Call:
    return given.changed(_is_tensor, lambda value: value.detach().clone())


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def batch_of(
    recorder: TorchRecorder, model: nn.Module, given: Call, parameters: Sequence[Tensor]
) -> FoundBatch:
    """Find the batch axis by further forwards in evaluation mode, in which shapes are noted."""
    leaves = [
        item for item in tensors_in(given.named, _is_tensor, in_objects=True) if is_plain(item)
    ]
    floating = [item for item in (*parameters, *leaves) if item.is_floating_point()]

    def run(some: Sequence[Tensor], phase: Phase) -> list[Any]:
        new = dict(zip(map(id, leaves), some, strict=True))
        call = given.changed(_is_tensor, lambda leaf: new.get(id(leaf), leaf).detach().clone())
        seed_everything(_SEED)
        with recorder.noting_shapes(phase), torch.no_grad():
            outputs = call.output_of(model.eval())
        return [recorder.array(item) for item in tensors_in(outputs, _is_tensor, in_objects=True)]

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
