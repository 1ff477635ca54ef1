"""Tracing a torch model: build it, run two forwards, name its parts, copy its gradient graph.

The `Trace` is plain data, the same for every framework, so everything behind it is shared.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from antifragile.ablate.frameworks.torch import compiler
from antifragile.ablate.frameworks.torch.assembly import TorchAssembly
from antifragile.ablate.frameworks.torch.gradients import Graph
from antifragile.ablate.frameworks.torch.names import all_parameters
from antifragile.ablate.frameworks.torch.reach import is_lazy
from antifragile.ablate.frameworks.torch.recorder import TorchRecorder
from antifragile.ablate.records import Project
from antifragile.ablate.sandbox.loading import stage
from antifragile.ablate.trace.nested import tensors_in
from antifragile.ablate.trace.notes import Phase
from antifragile.ablate.trace.records import Trace
from antifragile.ablate.trace.session import call_entry, read_sources

_SEED = 0


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
            leaves, inputs = attached(given)
            n_modules = len(list(model.modules()))
            with recorder.forward(Phase.TRAIN, "training"):
                outputs = model.train()(*inputs)
            if len(list(model.modules())) == n_modules:
                break
            recorder.forget()  # it makes layers in its first forward
        with recorder.forward(Phase.EVAL, "evaluation"), torch.no_grad():
            model.eval()(*copy.deepcopy(given))
        graph = Graph(tensors_in(outputs, recorder.is_tensor))
        if project.step is not None:  # for the sites that only it reaches
            call_entry(project, project.step, model.train(), *call_entry(project, project.inputs))
    return TorchAssembly(recorder, model, parameters, graph, leaves).trace(project, given, outputs)


def ready(recorder: TorchRecorder, project: Project, *, runs_first: bool) -> tuple[nn.Module, Any]:
    """Return a new model and its inputs, both from the user's functions.

    Args:
        recorder: It knows all layers before the model runs.
        project: The project.
        runs_first: Run the model once, so that what its first forward makes is there; a model with
            lazy layers is run in any case.
    """
    model: nn.Module = call_entry(project, project.build)
    given = call_entry(project, project.inputs)
    if runs_first or any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        for module in model.modules():
            recorder.module_notes(module)
        with stage("the first forward pass"), torch.no_grad():
            model.eval()(*copy.deepcopy(given))
    return model, given


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
