"""Tracing a torch model: build it, run two forwards, name its parts, copy its gradient graph.

The `Trace` is plain data, the same for every framework, so everything behind it is shared.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from antifragile.ablate.frameworks.torch.assembly import TorchAssembly
from antifragile.ablate.frameworks.torch.gradients import Graph
from antifragile.ablate.frameworks.torch.names import all_parameters
from antifragile.ablate.frameworks.torch.recorder import TorchRecorder
from antifragile.ablate.records import Project
from antifragile.ablate.sandbox.loading import Refusal
from antifragile.ablate.trace.calls import Call
from antifragile.ablate.trace.nested import data_in
from antifragile.ablate.trace.notes import Phase
from antifragile.ablate.trace.records import Trace
from antifragile.ablate.trace.session import call_entry, call_inputs, read_sources, run_forwards

_SEED = 0


def trace_torch(project: Project) -> Trace:
    """Run the model once and note what every site did."""
    recorder = TorchRecorder(read_sources(project))
    torch.manual_seed(_SEED)
    with recorder.watching(project.root):
        model = call_entry(project, project.build)
        parameters = all_parameters(model, project.root)
        recorder.parameters = {id(value): name for name, value in parameters.items()}
        given = call_inputs(project)
        leaves, fed = attached(given)
        outputs = run_forwards(
            recorder,
            project,
            forward=partial(_run_twice, recorder, model, fed, given),
            step=partial(_step_twice, recorder, model, given),
        )
        graph = Graph(data_in(outputs, recorder.is_tensor))
    return TorchAssembly(recorder, model, parameters, graph, leaves).trace(project, given, outputs)


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
