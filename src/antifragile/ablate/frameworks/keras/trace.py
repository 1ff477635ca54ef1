"""What is Keras's own in tracing: building the model, two forwards, names of layers and variables.

The counterpart of `torch_adapter`: the same `Trace` comes out, so everything behind it is shared.
In a functional model layers are called once at build, on symbols; what counts as running is the
call of the finished model on the inputs.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from antifragile.ablate.frameworks.keras.layers import (
    children_of,
    keras,
    layers_by_path,
    own_variables,
    variables_by_path,
)
from antifragile.ablate.frameworks.keras.models import KerasModels
from antifragile.ablate.frameworks.keras.recorder import KerasRecorder, tensors_in
from antifragile.ablate.records import Entry, Project, SiteKey
from antifragile.ablate.sandbox.loading import stage
from antifragile.ablate.source.project import enter_project, entry_function, module_name
from antifragile.ablate.source.syntax import SourceFile, read_source
from antifragile.ablate.trace.instrument import ReportingFinder
from antifragile.ablate.trace.notes import ModuleNotes, Notes, Phase
from antifragile.ablate.trace.plain import is_plain, plain
from antifragile.ablate.trace.records import Gradients, ModuleRun, SiteRun, Trace, Value

_SEED = 0
_CONTAINERS = ("Sequential", "Functional")
_SETTINGS = ("axis", "rate", "units", "filters", "use_bias", "num_heads")


def trace_keras(project: Project) -> Trace:
    """Run the model once and note what every site did; see `trace.trace`."""
    models = KerasModels()
    sources = {file: read_source(project.root, file) for file in project.sources}
    recorder = KerasRecorder(lambda key: reads_self(sources[key[0]], key[1]))
    enter_project(project)
    by_path = {Path(project.root, file).resolve(): source for file, source in sources.items()}
    ReportingFinder(by_path, recorder).install()
    models.seed(_SEED)
    with recorder.watching_modules():
        model = called(project, project.build)
        models.check(model, f"{project.build.function}() of {project.build.file}")
        inputs = [
            keras.ops.convert_to_tensor(item) if isinstance(item, np.ndarray) else item
            for item in called(project, project.inputs)
        ]
        models.prepare(model, inputs)
        outputs = run_twice(recorder, models, model, inputs)
    return assembled(project, sources, recorder, model, inputs, outputs)


def called(project: Project, entry: Entry) -> Any:
    """Import an entry's file and call its function."""
    with stage(f"importing {entry.file}"):
        function = entry_function(project, entry)
    with stage(f"{entry.function}() of {entry.file}"):
        return function()


def reads_self(source: SourceFile, number: int) -> bool:
    """Whether an attribute is read from `self`."""
    node = source.sites[number]
    owner = getattr(node, "value", None)
    return isinstance(owner, ast.Name) and owner.id == "self"


def run_twice(recorder: KerasRecorder, models: KerasModels, model: Any, inputs: list[Any]) -> Any:
    """One forward in training mode and one in evaluation mode."""
    recorder.phase = Phase.TRAIN
    given = [item for _, item in tensors_in(inputs)]
    recorder.inputs += [node for node in map(recorder.node, given) if node is not None]
    with stage("the forward pass in training mode"):
        outputs = model(*inputs, training=True)
    made = [recorder.node(item) for _, item in tensors_in(outputs)]
    recorder.starts += [node for node in made if node is not None]
    recorder.phase = Phase.EVAL
    with stage("the forward pass in evaluation mode"):
        models.evaluate(model, inputs)
    recorder.phase = Phase.OTHER
    return outputs


def assembled(
    project: Project,
    sources: Mapping[str, SourceFile],
    recorder: KerasRecorder,
    model: Any,
    inputs: list[Any],
    outputs: Any,
) -> Trace:
    """Turn the notes into a trace of plain data."""
    layers, names = known_layers(recorder, model)
    numbers = {key: number for number, key in enumerate(layers)}
    paths = {id(variable): path for path, variable, _ in reversed(list(variables_by_path(model)))}
    parameters = {
        paths[id(variable)]: variable for _, variable, learns in variables_by_path(model) if learns
    }
    return Trace(
        framework="keras",
        sha256={file: source.sha256 for file, source in sources.items()},
        sites={key: site(notes, numbers) for key, notes in recorder.sites.items()},
        modules=tuple(
            module(recorder, sources, layer, names[key], paths, numbers)
            for key, layer in layers.items()
        ),
        parameters={path: int(np.prod(value.shape)) for path, value in parameters.items()},
        gradients=Gradients(
            successors=tuple(recorder.successors),
            starts=tuple(recorder.starts),
            parameters={
                path: recorder.leaves[id(value)]
                for path, value in parameters.items()
                if id(value) in recorder.leaves
            },
            origins=tuple(dict.fromkeys(recorder.inputs)),
        ),
        aliases={file: aliases_in(project, file) for file in sources},
        inputs=tuple(
            recorder.value(item) if keras.ops.is_tensor(item) else None for item in inputs
        ),
        outputs=tuple(recorder.value(item) for _, item in tensors_in(outputs)),
    )


def known_layers(
    recorder: KerasRecorder, model: Any
) -> tuple[dict[int, Any], dict[int, tuple[str, ...]]]:
    """All layers, the model first, and the names of each."""
    layers: dict[int, Any] = {id(model): model}
    names: dict[int, list[str]] = {id(model): [""]}
    for path, layer in layers_by_path(model):
        layers.setdefault(id(layer), layer)
        names.setdefault(id(layer), []).append(path)
    for key, notes in recorder.modules.items():
        if notes.module is not None:
            layers.setdefault(key, notes.module)
    return layers, {key: tuple(dict.fromkeys(names.get(key, ()))) for key in layers}


def site(notes: Notes, numbers: Mapping[int, int]) -> SiteRun:
    """One site in plain data."""
    return SiteRun(
        **run(notes, numbers),
        callee=notes.callee,
        name=notes.name,
        modules=tuple(numbers[key] for key in notes.modules if key in numbers),
        arguments=dict(notes.arguments),
    )


def run(notes: Notes, numbers: Mapping[int, int]) -> dict[str, Any]:
    """What sites and layers have in common."""

    def described(value: Value) -> Value:
        maker = None if value.made_by is None else numbers.get(value.made_by)
        return Value(**{**vars(value), "made_by": maker})

    return {
        "calls": notes.calls[Phase.TRAIN],
        "eval_calls": notes.calls[Phase.EVAL],
        "other_calls": notes.calls[Phase.OTHER],
        "operands": {name: described(value) for name, value in notes.operands.items()},
        "outputs": tuple(map(described, notes.outputs)),
        "is_tensor": notes.is_tensor,
        "signatures": tuple(notes.signatures),
        "nodes": tuple((tuple(made), dict(operands)) for made, operands in notes.nodes),
    }


def module(
    recorder: KerasRecorder,
    sources: Mapping[str, SourceFile],
    layer: Any,
    names: tuple[str, ...],
    paths: Mapping[int, str],
    numbers: Mapping[int, int],
) -> ModuleRun:
    """One layer in plain data."""
    notes = recorder.modules.get(id(layer), ModuleNotes())
    below = [v for _, v, learns in variables_by_path(layer) if learns and id(v) in paths]
    own = [v for _, v, learns in own_variables(layer) if learns and id(v) in paths]
    settings = {name: getattr(layer, name, None) for name in _SETTINGS if hasattr(layer, name)}
    return ModuleRun(
        **run(notes, numbers),
        names=names,
        type=f"{type(layer).__module__}.{type(layer).__qualname__}",
        parameters=tuple(dict.fromkeys(paths[id(v)] for v in below)),
        own_parameters=tuple(dict.fromkeys(paths[id(v)] for v in own)),
        children=len(children_of(layer)),
        built_at=tuple(notes.built_at),
        built_under=notes.built_under,
        used_at=tuple(notes.used_at),
        extra=tuple(notes.extra),
        touched=tuple(notes.touched),
        settings={name: plain(value) for name, value in settings.items() if is_plain(value)},
        is_container=type(layer).__name__ in _CONTAINERS and not any(notes.calls.values()),
    )


def aliases_in(project: Project, file: str) -> dict[str, str]:
    """How a file calls keras, keras.layers and keras.ops."""
    module = importlib.import_module(module_name(project, file))
    spaces = {"keras": keras_module(), "keras.layers": keras.layers, "keras.ops": keras.ops}
    found: dict[str, str] = {}
    for name, value in vars(module).items():
        for space, library in spaces.items():
            if value is library:
                found.setdefault(space, name)
    return found


def keras_module() -> Any:
    """The package itself."""
    return importlib.import_module("keras")


SiteKeys = tuple[SiteKey, ...]
