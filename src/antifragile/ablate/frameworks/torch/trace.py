"""Tracing a torch model: build it, run two forwards, name its parts, copy its gradient graph.

The `Trace` is plain data, the same for every framework, so everything behind it is shared.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from antifragile.ablate.frameworks.torch.assembly import Assembly
from antifragile.ablate.frameworks.torch.gradients import Graph
from antifragile.ablate.frameworks.torch.names import all_parameters
from antifragile.ablate.frameworks.torch.recorder import TorchRecorder, is_tensor
from antifragile.ablate.records import Project
from antifragile.ablate.sandbox.loading import stage
from antifragile.ablate.source.syntax import SourceFile, read_source
from antifragile.ablate.trace.nested import tensors_in
from antifragile.ablate.trace.notes import Phase
from antifragile.ablate.trace.records import Trace
from antifragile.ablate.trace.session import call_entry, watch_sources

_SEED = 0


def trace_torch(project: Project) -> Trace:
    """Run the model once and note what every site did."""
    sources = {file: read_source(project.root, file) for file in project.sources}
    recorder = TorchRecorder(lambda key: is_guarded(sources[key[0]], key[1]))
    watch_sources(project, sources, recorder)
    torch.manual_seed(_SEED)
    with recorder.watching_modules():
        model = built(project)
        parameters = all_parameters(model, project.root)
        recorder.parameters = {id(value): name for name, value in parameters.items()}
        inputs, leaves, outputs = forwards(project, recorder, model)
        graph = Graph(tensors_in(outputs, is_tensor))
        run_step(project, model)
    return Assembly(recorder, sources, model, parameters, graph, leaves).trace(
        project, inputs, outputs
    )


def is_guarded(source: SourceFile, number: int) -> bool:
    """Whether an attribute is read behind a check of the class, or by its own object."""
    node = source.sites[number]
    spot: Any = node.func if hasattr(node, "func") else node
    value = getattr(getattr(spot, "value", None), "id", None)
    return value == "self" or source.class_guard(node)


def built(project: Project) -> nn.Module:
    """Call build, and refuse a result that is no module."""
    model = call_entry(project, project.build)
    with stage(f"{project.build.function}() of {project.build.file}"):
        if not isinstance(model, nn.Module):
            raise TypeError(f"expected a torch.nn.Module, got {type(model).__name__}")
    return model


def forwards(
    project: Project, recorder: TorchRecorder, model: nn.Module
) -> tuple[tuple[Any, ...], list[Tensor], Any]:
    """Run one forward in training mode with gradients and one in evaluation mode without."""
    given = call_inputs(project)
    leaves, inputs = attached(given)
    recorder.phase = Phase.TRAIN
    with stage("the model's forward in training mode"):
        outputs = model.train()(*inputs)
    recorder.phase = Phase.EVAL
    with stage("the model's forward in evaluation mode"), torch.no_grad():
        model.eval()(*copy.deepcopy(given))
    recorder.phase = Phase.OTHER
    return given, leaves, outputs


def attached(given: tuple[Any, ...]) -> tuple[list[Tensor], list[Any]]:
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


def run_step(project: Project, model: nn.Module) -> None:
    """Run the training step once, for the sites that only it reaches."""
    if project.step is not None:
        call_entry(project, project.step, model.train(), *call_inputs(project))


def call_inputs(project: Project) -> tuple[Any, ...]:
    """Make fresh inputs."""
    given = call_entry(project, project.inputs)
    return tuple(given) if isinstance(given, list | tuple) else (given,)
