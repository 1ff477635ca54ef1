"""First steps of every trace: read the sources, call the user's functions."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from antifragile.ablate.records import Entry, Project
from antifragile.ablate.sandbox.loading import Refusal, stage
from antifragile.ablate.source.project import entry_function, module_name
from antifragile.ablate.source.syntax import SourceFile, read_source
from antifragile.ablate.trace.calls import Call, read_call
from antifragile.ablate.trace.recorder import Recorder


def read_sources(project: Project) -> dict[str, SourceFile]:
    """Read a project's sources, by file."""
    return {file: read_source(project.root, file) for file in project.sources}


def call_entry(project: Project, entry: Entry) -> Any:
    """Import an entry's file and call its function, each under its own name for error messages."""
    return load_entry(project, entry)()


def load_entry(project: Project, entry: Entry) -> Callable[..., Any]:
    """Import an entry's file; its function names itself in error messages."""
    with stage(f"importing {entry.file}"):
        function = entry_function(project, entry)

    def called(*args: object, **kwargs: object) -> Any:
        with stage(f"{entry.function}() of {entry.file}"):
            return function(*args, **kwargs)

    return called


def call_inputs(project: Project, *, dict_is_one_input: bool = False) -> Call:
    """Call the project's `inputs()`, if it has one, and read what it returned."""
    if project.inputs is None:
        return Call()
    source = f"{project.inputs.function}() of {project.inputs.file}"
    found = call_entry(project, project.inputs)
    return read_call(found, source, dict_is_one_input=dict_is_one_input)


def run_forwards(
    recorder: Recorder,
    project: Project,
    *,
    forward: Callable[[], Any],
    step: Callable[..., Any],
) -> Any:
    """Run both forwards on the inputs, or by the step where only that can call the model.

    Args:
        recorder: Takes the notes.
        project: The project.
        forward: Runs the model on the inputs in both modes; returns its output.
        step: Takes the step and whether it is all that runs the model; returns the loss.

    Returns:
        What was computed in training mode: the output, or the loss.
    """
    if project.step is None:
        return forward()
    function = load_entry(project, project.step)
    if project.inputs is None:
        return step(function, is_all=True)
    try:
        outputs = forward()
    except Refusal as refusal:
        recorder.remarks.setdefault(f"{refusal}; so the step alone runs the model")
        recorder.forget_forwards()
        return step(function, is_all=True)
    step(function, is_all=False)  # for the sites that only it reaches
    return outputs


def library_names(project: Project, file: str, libraries: Mapping[str, Any]) -> dict[str, str]:
    """Return the names by which a file calls some libraries, star imports included.

    Args:
        project: The project.
        file: One of its sources.
        libraries: The modules by full name, as in "torch.nn".
    """
    module = importlib.import_module(module_name(project, file))
    found: dict[str, str] = {}
    for name, value in vars(module).items():
        for library, target in libraries.items():
            if value is target:
                found.setdefault(library, name)
    return found
