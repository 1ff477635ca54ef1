"""The `Trace` of a torch model: nodes of autograd's graph become numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from antifragile.ablate.frameworks.torch.gradients import Graph, Node, parameter_nodes
from antifragile.ablate.frameworks.torch.names import module_names
from antifragile.ablate.frameworks.torch.reach import reachable_tensors
from antifragile.ablate.frameworks.torch.recorder import TorchRecorder
from antifragile.ablate.records import Project, SiteKey
from antifragile.ablate.trace.assembly import Assembly, Nodes
from antifragile.ablate.trace.notes import ModuleNotes, Notes
from antifragile.ablate.trace.plain import is_plain, plain
from antifragile.ablate.trace.records import Gradients

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


class TorchAssembly(Assembly):
    """Turns the notes of a torch recorder into a `Trace`."""

    framework = "torch"

    def __init__(
        self,
        recorder: TorchRecorder,
        model: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        graph: Graph,
        leaves: Iterable[Tensor],
    ) -> None:
        known = [model, *(notes.module for notes in recorder.modules.values())]
        modules = {id(module): module for module in known}
        for module in known:
            for child in module.modules():
                modules.setdefault(id(child), child)
        super().__init__(recorder, modules, module_names(model), parameters)
        self.recorder = recorder
        self.model = model
        self.graph = graph
        self.origins = self._origins(leaves)

    def _origins(self, leaves: Iterable[Tensor]) -> set[int]:
        """Nodes through which the output depends on the inputs: floating inputs, embeddings."""
        found = {self.graph.find(leaf) for leaf in leaves}
        leaf_modules = [
            notes
            for notes in self.recorder.modules.values()
            if next(notes.module.children(), None) is None
        ]
        calls = [notes for notes in self.recorder.sites.values() if notes.name == "embedding"]
        for notes in [*leaf_modules, *calls]:
            if any(not value.is_floating for value in notes.operands.values()):
                found |= {self.graph.numbers.get(node) for made, _ in notes.nodes for node in made}
        return {node for node in found if node is not None}

    def libraries(self) -> dict[str, Any]:
        """The libraries by full name."""
        return {"torch": torch, "torch.nn": nn, "torch.nn.functional": nn.functional}

    def gradients(self) -> Gradients:
        """The autograd graph of the training forward."""
        return Gradients(
            successors=self.graph.successors,
            starts=self.graph.starts,
            parameters=parameter_nodes(self.graph, self.parameters),
            origins=tuple(self.origins),
        )

    def nodes(self, made: Sequence[Node], operands: Mapping[str, Node | None]) -> Nodes:
        """Number the nodes of one call; a view that is not in the graph stands for its base."""
        numbers = self.graph.numbers
        bases = self.recorder.bases
        seen = [node if node in numbers else bases.get(node) for node in made]
        known = tuple(numbers[node] for node in seen if node in numbers)
        return known, {name: numbers.get(node) for name, node in operands.items()}

    def exposed(self, notes: Notes) -> tuple[str, ...]:
        """The operands that later writes into the results would change for others."""
        found = (self.recorder.memory.exposed(one, self.graph) for one in notes.rewritten)
        return tuple(dict.fromkeys(name for names in found for name in names))

    def construction(self, project: Project) -> dict[str, Any]:
        """Which calls filled parameters, and which places read them, under all their paths."""
        notes = self.recorder.initial
        paths: dict[int, tuple[str, ...]] = {}
        holders: dict[int, Tensor] = {}
        for path, tensor in reachable_tensors(self.model, folder=project.root).items():
            if isinstance(tensor, nn.Parameter):
                paths[id(tensor)] = (*paths.get(id(tensor), ()), path)
                storage = tensor.untyped_storage().data_ptr()
                if holders.setdefault(storage, tensor) is tensor:
                    paths[storage] = paths[id(tensor)]
                else:
                    paths.pop(storage, None)  # several parameters share it
        return {
            "initialisations": notes.by_site(paths),
            "parameter_reads": {
                key: paths[number] for key, number in notes.reads.items() if number in paths
            },
        }

    def _built_at(self, notes: ModuleNotes) -> tuple[SiteKey, ...]:
        """The sites that made a module, and the calls right around them that passed it on."""
        found = list(notes.built_at)
        for key in notes.returned_at:
            if found and found[-1][0] == key[0]:
                source = self.recorder.sources[key[0]]
                if source.parents[source.sites[found[-1][1]]] is source.sites[key[1]]:
                    found.append(key)
        return tuple(found)

    def held(self, module: nn.Module, *, below: bool) -> Iterable[nn.Parameter]:
        """A module's own parameters, or also those of all modules below it."""
        return module.parameters(recurse=below)

    def module_fields(self, notes: ModuleNotes, module: nn.Module) -> dict[str, Any]:
        """Children, places of construction, plain options (p, num_heads), tied parameters."""
        attributes = vars(module).items()
        return {
            "children": sum(name != "parametrizations" for name, _ in module.named_children()),
            "built_at": self._built_at(notes),
            "settings": {
                name: plain(value)
                for name, value in attributes
                if not name.startswith("_") and is_plain(value)
            },
            "is_reassigned": bool(notes.built_at)
            and any(id(value) not in notes.first_parameters for value in module.parameters()),
            "has_hooks": has_hooks(module),
            "is_container": isinstance(module, _CONTAINERS)
            or (isinstance(module, nn.Sequential) and not any(notes.calls.values())),
        }


def has_hooks(module: nn.Module) -> bool:
    """Whether functions run around a module's calls, beside torch's own that make its weight."""
    tables = [module._forward_hooks, module._forward_pre_hooks]
    tables += [module._backward_hooks, module._backward_pre_hooks]
    homes = (str(getattr(hook, "__module__", "")) for table in tables for hook in table.values())
    return any(home.partition(".")[0] != "torch" for home in homes)
