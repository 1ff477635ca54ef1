"""Tracing a Keras model: build it, run two forwards, name its layers and variables.

The `Trace` is plain data, the same for every framework, so everything behind it is shared. In a
functional model layers are called once at build, on symbols; only calls of the finished model on
the inputs count as running.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from antifragile.ablate.frameworks.keras.layers import (
    children_of,
    is_graph,
    is_named_by_user,
    keras,
    layers_by_path,
    own_variables,
    titles_by_path,
    variables_by_path,
)
from antifragile.ablate.frameworks.keras.models import KerasModels
from antifragile.ablate.frameworks.keras.recorder import KerasRecorder
from antifragile.ablate.records import Project
from antifragile.ablate.trace.assembly import Assembly
from antifragile.ablate.trace.batch import FoundBatch, Samples, first_axis_batch
from antifragile.ablate.trace.calls import Call
from antifragile.ablate.trace.nested import tensors_in
from antifragile.ablate.trace.notes import ModuleNotes, Phase
from antifragile.ablate.trace.plain import is_plain, plain
from antifragile.ablate.trace.records import Gradients, Trace
from antifragile.ablate.trace.session import call_inputs, load_entry, read_sources, run_forwards

_SEED = 0
_CONTAINERS = ("Sequential", "Functional")
_SETTINGS = ("axis", "rate", "units", "filters", "use_bias", "num_heads")


def trace_keras(project: Project) -> Trace:
    """Run the model once and note what every site did."""
    models = KerasModels()
    recorder = KerasRecorder(read_sources(project))
    with recorder.watching(project.root):
        build = load_entry(project, project.build)
        models.seed(_SEED)
        model = build()
        given = call_inputs(project, dict_is_one_input=models.dict_is_one_input)
        given = given.changed(lambda item: isinstance(item, np.ndarray), convert)
        outputs = run_forwards(
            recorder,
            project,
            forward=partial(_run_twice, recorder, models, model, given),
            step=partial(_step_once, recorder, model, given),
        )
        recorder.found = batch_of(recorder, models, model, given)
    trace = KerasAssembly(recorder, model).trace(project, given, outputs)
    return replace(trace, versions=models.versions())


def convert(array: Any) -> Any:
    """Turn an array into a tensor; one of texts stays."""
    return keras.ops.convert_to_tensor(array) if array.dtype.kind in "biufc" else array


def _run_twice(recorder: KerasRecorder, models: KerasModels, model: Any, given: Call) -> Any:
    """One forward in training mode and one in evaluation mode."""
    evaluate = partial(models.forward, model, given, training=False, with_gradients=False)
    models.prepare(model, evaluate)
    recorder.parameter_names = names_of_parameters(model)
    with recorder.forward(Phase.TRAIN, "training"):
        tensors = tensors_in(given.named, recorder.is_tensor, in_objects=True)
        recorder.inputs += [node for node in map(recorder.node, tensors) if node is not None]
        outputs = given.output_of(model, training=True)
        _note_starts(recorder, outputs)
    with recorder.forward(Phase.EVAL, "evaluation"):
        evaluate()
    return outputs


def _step_once(
    recorder: KerasRecorder, model: Any, given: Call, step: Callable[..., Any], *, is_all: bool
) -> Any:
    """A step where nothing else runs the model; calls in it name their own mode."""
    if is_all:
        given.of(step, model)  # creates the weights
        with recorder.forward(Phase.TRAIN, "training"):
            loss = given.of(step, model)
            _note_starts(recorder, loss)
        return loss
    return None


def _note_starts(recorder: KerasRecorder, outputs: Any) -> None:
    made = map(recorder.node, tensors_in(outputs, recorder.is_tensor, in_objects=True))
    recorder.starts += [node for node in made if node is not None]


def batch_of(recorder: KerasRecorder, models: KerasModels, model: Any, given: Call) -> FoundBatch:
    """Run on another number of samples, which lie along axis 0 in Keras; shapes are noted."""
    leaves = tensors_in(given.named, recorder.is_tensor, in_objects=True)

    def run(some: Sequence[Any], phase: Phase) -> None:
        new = dict(zip(map(id, leaves), some, strict=True))
        with recorder.noting_shapes(phase):
            call = given.changed(recorder.is_tensor, lambda leaf: new[id(leaf)])
            models.forward(model, call, training=False, with_gradients=False)

    return first_axis_batch(leaves, run, taken)


def taken(tensor: Any, axis: int, samples: Samples) -> Any:
    """Take samples of a tensor along an axis; the first stands for those made up."""
    return keras.ops.take(tensor, [item or 0 for item in samples.taken], axis=axis)


class KerasAssembly(Assembly):
    """Turns the notes of a Keras recorder into a `Trace`."""

    framework = "keras"

    def __init__(self, recorder: KerasRecorder, model: Any) -> None:
        learning = [(path, value) for path, value, learns in variables_by_path(model) if learns]
        first = names_of_parameters(model)
        parameters = {first[id(value)]: value for _, value in learning}
        super().__init__(recorder, *known_layers(recorder, model), parameters)
        self.recorder = recorder
        self.titles = titles_by_path(model)
        self.places = places_in_graphs(model)

    def libraries(self) -> dict[str, Any]:
        """The libraries by full name."""
        package = importlib.import_module("keras")
        return {"keras": package, "keras.layers": keras.layers, "keras.ops": keras.ops}

    def gradients(self) -> Gradients:
        """The recorder's own graph."""
        recorder = self.recorder
        nodes = {name: recorder.leaves.get(id(value)) for name, value in self.parameters.items()}
        return Gradients(
            successors=tuple(recorder.successors),
            starts=tuple(recorder.starts),
            parameters={name: node for name, node in nodes.items() if node is not None},
            origins=tuple(dict.fromkeys(recorder.inputs)),
        )

    def held(self, module: Any, *, below: bool) -> list[Any]:
        """A layer's own parameters, or also those of all layers below it."""
        variables = (variables_by_path if below else own_variables)(module)
        return [variable for _, variable, learns in variables if learns]

    def module_fields(self, notes: ModuleNotes, module: Any) -> dict[str, Any]:
        """Children, places of construction, some plain options."""
        options = [(name, getattr(module, name)) for name in _SETTINGS if hasattr(module, name)]
        options += [("which", self.places[id(module)])] if id(module) in self.places else []
        is_stack = type(module).__name__ in _CONTAINERS
        return {
            "children": len(children_of(module)),
            "title": self.titles.get(next(iter(self.names.get(id(module), ())), ""), ""),
            "built_at": tuple(notes.built_at),
            "settings": {name: plain(value) for name, value in options if is_plain(value)},
            "is_container": is_stack and not any(notes.calls.values()),
        }


def names_of_parameters(model: Any) -> dict[int, str]:
    """The first path of each parameter, by id."""
    learning = [(path, value) for path, value, learns in variables_by_path(model) if learns]
    return {id(value): path for path, value in reversed(learning)}


def places_in_graphs(model: Any) -> dict[int, str]:
    """Names by which `get_layer` finds the layers of a functional or Sequential model, by id."""
    graphs = [layer for _, layer in layers_by_path(model) if is_graph(layer)]
    return {
        id(layer): f'name="{layer.name}"' if is_named_by_user(layer) else f"index={index}"
        for graph in reversed(graphs)
        for index, layer in enumerate(graph.layers)
    }


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
        layers.setdefault(key, notes.module)
    return layers, {key: tuple(dict.fromkeys(found)) for key, found in names.items()}
