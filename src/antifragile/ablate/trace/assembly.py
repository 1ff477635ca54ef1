"""A `Trace` made of a recorder's notes: objects become numbers and names."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from antifragile.ablate.records import Project
from antifragile.ablate.trace.batch import axes_of_calls, feature_means
from antifragile.ablate.trace.calls import Call
from antifragile.ablate.trace.nested import flatten, tensors_in
from antifragile.ablate.trace.notes import ModuleNotes, Notes, Phase
from antifragile.ablate.trace.recorder import Recorder
from antifragile.ablate.trace.records import Gradients, ModuleRun, SiteRun, Trace, Value
from antifragile.ablate.trace.session import library_names

Nodes = tuple[tuple[int, ...], Mapping[str, int | None]]  # of the outputs, of the operands


class Assembly(ABC):
    """Turns the notes of a recorder into a `Trace`.

    Attributes:
        framework: Name of the framework.

    Args:
        recorder: The notes.
        modules: All modules by id, the model first.
        names: The names of each module.
        parameters: The model's parameters by name.
    """

    framework: ClassVar[str]

    def __init__(
        self,
        recorder: Recorder,
        modules: Mapping[int, Any],
        names: Mapping[int, Sequence[str]],
        parameters: Mapping[str, Any],
    ) -> None:
        self.notes = recorder
        self.modules = modules
        self.names = names
        self.parameters = parameters
        self.numbers: dict[int | None, int] = {key: number for number, key in enumerate(modules)}
        self._parameter_names = {id(value): name for name, value in parameters.items()}

    def trace(self, project: Project, call: Call, outputs: Any) -> Trace:
        """Assemble everything."""
        notes, libraries = self.notes, self.libraries()
        inputs = self._inputs(call)
        made = {key: self._named(found.new_parameters) for key, found in notes.sites.items()}
        return Trace(
            framework=self.framework,
            sha256={file: source.sha256 for file, source in notes.sources.items()},
            sites={key: self._site(found) for key, found in notes.sites.items()},
            modules=tuple(self._module(key, module) for key, module in self.modules.items()),
            parameters={name: math.prod(value.shape) for name, value in self.parameters.items()},
            gradients=self.gradients(),
            aliases={file: library_names(project, file, libraries) for file in notes.sources},
            inputs=tuple(inputs.values()),
            input_names=tuple(inputs),
            outputs=tuple(map(notes.value, tensors_in(outputs, notes.is_tensor, in_objects=True))),
            parameter_sites={key: names for key, names in made.items() if names},
            remarks=tuple(notes.remarks),
            batch=notes.found.batch,
            **self.construction(project),
        )

    def construction(self, project: Project) -> dict[str, Any]:
        """Fields about the values that parameters get while the model is built."""
        return {}

    def _inputs(self, call: Call) -> dict[str, Value | None]:
        """The inputs by name, None for those that are no tensors; then the tensors inside these."""
        notes = self.notes
        found = {
            name: self._input(item) if notes.is_tensor(item) else None
            for name, item in call.named.items()
        }
        inside = {
            name + path: self._input(item)
            for name, value in call.named.items()
            for path, item in flatten(value, notes.is_tensor)
            if path and notes.is_tensor(item)
        }
        return found | inside

    @abstractmethod
    def libraries(self) -> Mapping[str, Any]:
        """The framework's libraries by full name, as in "torch.nn"."""

    @abstractmethod
    def gradients(self) -> Gradients:
        """The gradient graph of the training forward."""

    @abstractmethod
    def held(self, module: Any, *, below: bool) -> Iterable[Any]:
        """A module's own parameters, or also those of all modules below it."""

    @abstractmethod
    def module_fields(self, notes: ModuleNotes, module: Any) -> dict[str, Any]:
        """Fields of a module's record that each framework finds in its own way."""

    def nodes(self, made: Sequence[Any], operands: Mapping[str, Any]) -> Nodes:
        """Number the nodes of one call."""
        return tuple(made), operands

    def exposed(self, notes: Notes) -> tuple[str, ...]:
        """The operands that later writes into the results would change, were they passed on."""
        return ()

    def _named(self, parameters: Iterable[int]) -> tuple[str, ...]:
        """The names of parameters, given by id; those that are not the model's are left out."""
        names = self._parameter_names
        return tuple(dict.fromkeys(names[key] for key in parameters if key in names))

    def _numbered(self, value: Value) -> Value:
        return replace(value, made_by=self.numbers.get(value.made_by))

    def _input(self, tensor: Any) -> Value:
        """An input with its batch axis and the means of its features."""
        value, found = self.notes.value(tensor), self.notes.found
        axis = found.axes.get(id(tensor))
        axes = () if axis is None else (axis,)
        known = None if found.samples is None else axes
        means = feature_means(self.notes.array(tensor)) if value.is_floating else ()
        return replace(value, batch_axes=known, means=means)

    def _run(self, notes: Notes) -> dict[str, Any]:
        """The fields that the records of sites and modules share."""
        axes = axes_of_calls(notes.shapes, self.notes.found.samples)
        operands = {name: self._numbered(value) for name, value in notes.operands.items()}
        outputs = map(self._numbered, notes.outputs)
        return {
            "calls": notes.calls[Phase.TRAIN],
            "eval_calls": notes.calls[Phase.EVAL],
            "other_calls": notes.calls[Phase.OTHER],
            "operands": {
                name: replace(value, batch_axes=axes.get(name)) for name, value in operands.items()
            },
            "outputs": tuple(
                replace(value, batch_axes=axes.get(f"-> {place}"))
                for place, value in enumerate(outputs)
            ),
            "is_tensor": notes.is_tensor,
            "n_leading": notes.n_leading,
            "signatures": tuple(notes.signatures),
            "exposed": self.exposed(notes),
            "nodes": tuple(self.nodes(made, operands) for made, operands in notes.nodes),
        }

    def _site(self, notes: Notes) -> SiteRun:
        return SiteRun(
            **self._run(notes),
            callee=notes.callee,
            name=notes.name,
            modules=tuple(self.numbers[key] for key in notes.modules if key in self.numbers),
            parameters=tuple(notes.parameters),
            arguments=notes.arguments,
        )

    def _module(self, key: int, module: Any) -> ModuleRun:
        notes = self.notes.modules.get(key, ModuleNotes())
        return ModuleRun(
            **self._run(notes),
            names=tuple(self.names.get(key, ())),
            type=f"{type(module).__module__}.{type(module).__qualname__}",
            parameters=self._named(map(id, self.held(module, below=True))),
            own_parameters=self._named(map(id, self.held(module, below=False))),
            built_under=notes.built_under,
            first_seen=notes.first_seen,
            used_at=tuple(notes.used_at),
            extra=tuple(notes.extra),
            skips_hooks=notes.skips_hooks,
            is_late=notes.is_late,
            touched=tuple(notes.touched),
            passes_input=notes.passes_input
            and notes.calls[Phase.TRAIN] + notes.calls[Phase.EVAL] > 0,
            **self.module_fields(notes, module),
        )
