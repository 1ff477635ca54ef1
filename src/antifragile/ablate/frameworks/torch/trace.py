"""Tracing a torch model: build it, run two forwards, name its parts, copy its gradient graph.

The `Trace` is plain data, the same for every framework, so everything behind it is shared.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from antifragile.ablate.frameworks.torch import compiler
from antifragile.ablate.frameworks.torch.assembly import TorchAssembly
from antifragile.ablate.frameworks.torch.gradients import Graph
from antifragile.ablate.frameworks.torch.names import all_parameters
from antifragile.ablate.frameworks.torch.recorder import TorchRecorder
from antifragile.ablate.records import Project
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
