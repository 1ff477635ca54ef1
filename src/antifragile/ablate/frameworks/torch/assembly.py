"""A `Trace` made of a recorder's notes: objects become numbers and names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from antifragile.ablate.frameworks.torch.gradients import Graph, Node, parameter_nodes
from antifragile.ablate.frameworks.torch.names import module_names
from antifragile.ablate.frameworks.torch.recorder import TorchRecorder, is_tensor
from antifragile.ablate.records import Project, SiteKey
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.nested import tensors_in
from antifragile.ablate.trace.notes import ModuleNotes, Notes, run_fields
from antifragile.ablate.trace.plain import is_plain, plain
from antifragile.ablate.trace.records import Gradients, ModuleRun, SiteRun, Trace
from antifragile.ablate.trace.session import library_names

_LIBRARIES = {"torch": torch, "torch.nn": nn, "torch.nn.functional": nn.functional}
_CONTAINERS = (nn.ModuleList, nn.ModuleDict)


class Assembly:
    """Turns the notes of a recorder into a `Trace`."""

    def __init__(
        self,
        recorder: TorchRecorder,
        sources: Mapping[str, SourceFile],
        model: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        graph: Graph,
        leaves: list[Tensor],
    ) -> None:
        self.recorder = recorder
        self.sources = sources
        self.model = model
        self.graph = graph
        self.parameters = parameters
        self.nodes = parameter_nodes(graph, self.parameters)
        names = module_names(model)
        known = [model, *(notes.module for notes in recorder.modules.values())]
        self.modules = {id(module): module for module in known if module is not None}
        for module in list(self.modules.values()):
            for child in module.modules():
                self.modules.setdefault(id(child), child)
        self.names = {key: names.get(key, []) for key in self.modules}
        self.numbers = {key: number for number, key in enumerate(self.modules)}
        self.origins = self._origins(leaves)

    def _origins(self, leaves: list[Tensor]) -> set[int]:
        """Nodes through which the output depends on the inputs: floating inputs, embeddings."""
        found = {self.graph.find(leaf) for leaf in leaves}
        leaf_modules = [
            notes
            for notes in self.recorder.modules.values()
            if notes.module is not None and not any(notes.module.children())
        ]
        calls = [notes for notes in self.recorder.sites.values() if notes.name == "embedding"]
        for notes in [*leaf_modules, *calls]:
            if any(not value.is_floating for value in notes.operands.values()):
                found |= {self.graph.numbers.get(node) for made, _ in notes.nodes for node in made}
        return {node for node in found if node is not None}

    def trace(self, project: Project, inputs: tuple[Any, ...], outputs: Any) -> Trace:
        """Assemble everything."""
        recorder = self.recorder
        sites = {key: self._site(notes) for key, notes in recorder.sites.items()}
        values = [recorder.value(item) if isinstance(item, Tensor) else None for item in inputs]
        return Trace(
            framework="torch",
            sha256={file: source.sha256 for file, source in self.sources.items()},
            sites=sites,
            modules=tuple(self._module(key, module) for key, module in self.modules.items()),
            parameters={name: value.numel() for name, value in self.parameters.items()},
            gradients=Gradients(
                successors=tuple(self.graph.successors),
                starts=self.graph.starts,
                parameters=self.nodes,
                origins=tuple(self.origins),
            ),
            aliases={file: library_names(project, file, _LIBRARIES) for file in self.sources},
            inputs=tuple(values),
            outputs=tuple(map(recorder.value, tensors_in(outputs, is_tensor))),
            parameter_sites=self._parameter_sites(),
        )

    def _parameter_sites(self) -> dict[SiteKey, tuple[str, ...]]:
        names = self.recorder.parameters
        found = {
            key: tuple(names[made] for made in notes.new_parameters if made in names)
            for key, notes in self.recorder.sites.items()
        }
        return {key: value for key, value in found.items() if value}

    def _run(self, notes: Notes) -> dict[str, Any]:
        nodes = (self._nodes(made, operands) for made, operands in notes.nodes)
        return run_fields(notes, self.numbers, nodes)

    def _nodes(
        self, made: list[Node], operands: Mapping[str, Node | None]
    ) -> tuple[tuple[int, ...], dict[str, int | None]]:
        numbers = self.graph.numbers
        bases = self.recorder.bases
        seen = [node if node in numbers else bases.get(node) for node in made]
        known = tuple(numbers[node] for node in seen if node in numbers)
        return known, {name: numbers.get(node) for name, node in operands.items()}

    def _site(self, notes: Notes) -> SiteRun:
        return SiteRun(
            **self._run(notes),
            callee=notes.callee,
            name=notes.name,
            modules=tuple(self.numbers[key] for key in notes.modules),
            parameters=tuple(notes.parameters),
            skip=self._skip(notes) if notes.name in ("+", "+=", "add", "add_") else None,
            arguments=dict(notes.arguments),
        )

    def _skip(self, notes: Notes) -> str | None:
        """Name the operand of a sum that is nearer to the input, or None if neither is."""
        if not notes.nodes or len(notes.nodes[0][1]) != 2:
            return None
        (left, left_node), (right, right_node) = notes.nodes[0][1].items()
        numbers = [self.graph.numbers.get(node) for node in (left_node, right_node)]
        if numbers[0] is None or numbers[1] is None:
            return left if numbers[0] is None and numbers[1] is not None else None
        below_left, below_right = map(self.graph.below, (numbers[0], numbers[1]))
        if numbers[0] in below_right or numbers[1] in below_left:
            return left if numbers[0] in below_right else right
        shared = {number for number in below_left & below_right if self.graph.successors[number]}
        shared |= below_left & below_right & self.origins
        if not shared:
            return None
        return left if len(below_left - shared) <= len(below_right - shared) else right

    def _built_at(self, notes: ModuleNotes) -> tuple[SiteKey, ...]:
        """The sites that made a module, and the calls right around them that passed it on."""
        found = list(notes.built_at)
        for key in notes.returned_at:
            if found and found[-1][0] == key[0]:
                source = self.sources[key[0]]
                if source.parents[source.sites[found[-1][1]]] is source.sites[key[1]]:
                    found.append(key)
        return tuple(found)

    def _module(self, key: int, module: nn.Module) -> ModuleRun:
        notes = self.recorder.modules.get(key, ModuleNotes(module=module))
        by_id = {id(parameter): name for name, parameter in self.parameters.items()}
        below = [by_id[id(value)] for value in module.parameters() if id(value) in by_id]
        here = module.parameters(recurse=False)
        own = [by_id[id(value)] for value in here if id(value) in by_id]
        return ModuleRun(
            **self._run(notes),
            names=tuple(self.names[key]),
            type=f"{type(module).__module__}.{type(module).__qualname__}",
            parameters=tuple(below),
            own_parameters=tuple(own),
            children=sum(name != "parametrizations" for name, _ in module.named_children()),
            built_at=self._built_at(notes),
            built_under=notes.built_under,
            used_at=tuple(notes.used_at),
            extra=tuple(notes.extra),
            touched=tuple(notes.touched),
            settings={
                name: plain(value)
                for name, value in vars(module).items()
                if is_setting(name, value)
            },
            is_reassigned=bool(notes.built_at)
            and any(id(value) not in notes.first_parameters for value in module.parameters()),
            is_container=isinstance(module, _CONTAINERS)
            or (isinstance(module, nn.Sequential) and not any(notes.calls.values())),
        )


def is_setting(name: str, value: object) -> bool:
    """Whether an attribute is a plain option of a module: p, num_heads, kernel_size."""
    return not name.startswith("_") and is_plain(value)
