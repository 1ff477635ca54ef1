"""What is torch's own in tracing: building the model, two forwards, names, gradients.

A second framework brings its own module with the same one function, `trace_*`; everything after the
`Trace` works on plain data.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from antifragile.ablate.frameworks.torch.assembly import Assembly
from antifragile.ablate.frameworks.torch.gradients import Graph
from antifragile.ablate.frameworks.torch.names import all_parameters
from antifragile.ablate.frameworks.torch.recorder import TorchRecorder
from antifragile.ablate.frameworks.torch.values import tensors_in
from antifragile.ablate.records import Entry, Project
from antifragile.ablate.sandbox.loading import stage
from antifragile.ablate.source.project import enter_project, entry_function
from antifragile.ablate.source.syntax import SourceFile, read_source
from antifragile.ablate.trace.instrument import ReportingFinder
from antifragile.ablate.trace.notes import Phase
from antifragile.ablate.trace.records import Trace

_SEED = 0


def trace_torch(project: Project) -> Trace:
    """Run the model once and note what every site did; see `trace.trace`."""
    sources = {file: read_source(project.root, file) for file in project.sources}
    recorder = TorchRecorder(lambda key: is_guarded(sources[key[0]], key[1]))
    enter_project(project)
    by_path = {Path(project.root, file).resolve(): source for file, source in sources.items()}
    ReportingFinder(by_path, recorder).install()
    torch.manual_seed(_SEED)
    with recorder.watching_modules():
        model = built(project)
        parameters = all_parameters(model, project.root)
        recorder.parameters = {id(value): name for name, value in parameters.items()}
        inputs, leaves, outputs = forwards(project, recorder, model)
        graph = Graph(tensors_in(outputs))
        run_step(project, model)
    return Assembly(recorder, sources, model, parameters, graph, leaves).trace(
        project, inputs, outputs
    )


def is_guarded(source: SourceFile, number: int) -> bool:
    """Whether an attribute is read behind a question for the class, or by its own object."""
    node = source.sites[number]
    spot: Any = node.func if hasattr(node, "func") else node
    value = getattr(getattr(spot, "value", None), "id", None)
    return value == "self" or source.class_guard(node)


def call_entry(project: Project, entry: Entry, *arguments: Any) -> Any:
    """Import an entry's file and call its function, each under its own name for error messages."""
    with stage(f"importing {entry.file}"):
        function = entry_function(project, entry)
    with stage(f"{entry.function}() of {entry.file}"):
        return function(*arguments)


def built(project: Project) -> nn.Module:
    """Call build, and say what it returned when that is no module."""
    model = call_entry(project, project.build)
    with stage(f"{project.build.function}() of {project.build.file}"):
        if not isinstance(model, nn.Module):
            raise TypeError(f"expected a torch.nn.Module, got {type(model).__name__}")
    return model


def forwards(
    project: Project, recorder: TorchRecorder, model: nn.Module
) -> tuple[tuple[Any, ...], list[Tensor], Any]:
    """Run one forward in training mode with gradients and one in evaluation mode without."""
    given = call_entry(project, project.inputs)
    given = tuple(given) if isinstance(given, list | tuple) else (given,)
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
    """Return fresh inputs."""
    given = call_entry(project, project.inputs)
    return tuple(given) if isinstance(given, list | tuple) else (given,)
