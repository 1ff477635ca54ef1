"""Evidence about a model: its source joined with one execution, for discovery and planning."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from antifragile.ablate.records import NoLegalEdit, Project, SiteKey
from antifragile.ablate.source.syntax import SIGNS, SourceFile, read_source
from antifragile.ablate.trace.records import ModuleRun, Run, SiteRun, Trace
from antifragile.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class SeenSite:
    """One numbered site: its file, its node, and what the watched run saw there."""

    key: SiteKey
    source: SourceFile
    node: ast.AST
    run: SiteRun

    @property
    def function(self) -> str:
        """The dotted name of the function around it; the file at top level."""
        return self.source.qualified_name(self.node) or self.source.file

    @property
    def class_name(self) -> str | None:
        """The name of the class around it."""
        found = self.source.class_of(self.node)
        return found.name if found else None

    @property
    def is_inherited(self) -> bool:
        """Whether it calls the inherited version of the method around it, on the same object."""
        return self.source.source(self.node).startswith("super()")

    @property
    def label(self) -> str:
        """Its expression in a few characters."""
        return label(self.source, self.node)


class Evidence:
    """One project with one trace of it, and the questions that discovery and planning ask."""

    def __init__(self, project: Project, trace: Trace) -> None:
        self.project = project
        self.trace = trace
        self._vanishing: dict[tuple[int, ...], tuple[str, ...]] = {}  # a cache
        self.sources = {file: read_source(project.root, file) for file in project.sources}
        for file, source in self.sources.items():
            if trace.sha256.get(file) != source.sha256:
                raise SpecError(f"{file} changed since it was traced. Run discover again.")

    def site(self, key: SiteKey) -> SeenSite:
        """Return a site by its key; one that was not seen has an empty run."""
        source, run = self.sources[key[0]], self.trace.sites.get(key, SiteRun())
        return SeenSite(key=key, source=source, node=source.sites[key[1]], run=run)

    def run_of(self, source: SourceFile, node: ast.AST) -> SiteRun | None:
        """Return the run of a node, when it is a site that was seen."""
        number = source.number(node)
        return None if number is None else self.trace.sites.get((source.file, number))

    def ran_sites(self) -> Iterator[SeenSite]:
        """Yield the sites that ran in a forward, in the order of the source; the step is none."""
        for file in self.sources:
            keys = sorted(key for key in self.trace.sites if key[0] == file)
            sites = (self.site(key) for key in keys if self.trace.sites[key].ran)
            yield from (site for site in sites if not self._is_in_step(site))

    def _is_in_step(self, site: SeenSite) -> bool:
        """Whether a site lies in the step, which may run the model but is no part of it."""
        step, function = self.project.step, site.function.split(".")[0]
        return step is not None and (step.file, step.function) == (site.key[0], function)

    def module(self, number: int) -> ModuleRun:
        """Return a module by its number."""
        return self.trace.modules[number]

    @cached_property
    def classes(self) -> dict[str, tuple[SourceFile, ast.ClassDef]]:
        """Classes of the sources by their names."""
        return {
            node.name: (source, node)
            for source in self.sources.values()
            for node in ast.walk(source.tree)
            if isinstance(node, ast.ClassDef)
        }

    @cached_property
    def by_name(self) -> dict[str, int]:
        """Numbers of the modules under all their names; "blocks[0]" also as "blocks.0"."""
        modules = enumerate(self.trace.modules)
        found = {name: number for number, module in modules for name in module.names}
        return found | {dotted(name): number for name, number in found.items()}

    @cached_property
    def groups(self) -> dict[SiteKey, list[int]]:
        """Numbers of the modules by the outermost call that returned them as new."""
        found: dict[SiteKey, list[int]] = {}
        for number, module in enumerate(self.trace.modules):
            if module.built_at and number > 0:
                found.setdefault(module.built_at[-1], []).append(number)
        return dict(sorted(found.items()))

    @cached_property
    def reached(self) -> set[int]:
        """Autograd nodes that the outputs depend on, nothing cut."""
        return self.trace.gradients.walk({})

    @cached_property
    def fed(self) -> set[int]:
        """Autograd nodes that depend on the model's inputs."""
        above: dict[int, list[int]] = {}
        for number, below in enumerate(self.trace.gradients.successors):
            for node in below:
                above.setdefault(node, []).append(number)
        found = set(self.trace.gradients.origins)
        queue = list(found)
        while queue:
            fresh = [node for node in above.get(queue.pop(), ()) if node not in found]
            found.update(fresh)
            queue += fresh
        return found

    def depends(self, node: int, on: int) -> bool:
        """Whether an autograd node depends on another one."""
        seen, queue = {node}, [node]
        while queue:
            below = self.trace.gradients.successors[queue.pop()]
            if on in below:
                return True
            fresh = [item for item in dict.fromkeys(below) if item not in seen]
            seen.update(fresh)
            queue += fresh
        return False

    def owners(self, module: ModuleRun) -> Iterator[tuple[str, str, str]]:
        """Yield (class name, owner's name, path below it) of the local classes above a module."""
        parts = module.name.split(".") if module.name else []
        for length in range(len(parts) - 1, -1, -1):
            name = ".".join(parts[:length])
            if name not in self.by_name:
                continue
            class_name = self.module(self.by_name[name]).type.rpartition(".")[2]
            if class_name in self.classes:
                yield class_name, name, ".".join(parts[length:])

    @cached_property
    def paths_by_class(self) -> dict[str, set[str]]:
        """Paths of the modules below the objects of each local class."""
        found: dict[str, set[str]] = {}
        for module in self.trace.modules:
            for class_name, _, path in self.owners(module):
                found.setdefault(class_name, set()).add(path)
        return found

    def owner_of(self, module: ModuleRun, class_name: str | None) -> tuple[str, str, str] | None:
        """Return the owner of a module whose class holds its construction; else the nearest."""
        owners = list(self.owners(module))
        return next((owner for owner in owners if owner[0] == class_name), next(iter(owners), None))

    def delta(self, numbers: Sequence[int]) -> int:
        """Return how the number of parameters changes when some modules leave the model."""
        return -sum(self.trace.parameters[name] for name in self.vanishing(numbers))

    def vanishing(self, numbers: Sequence[int]) -> tuple[str, ...]:
        """Return the names of the parameters that only the given modules hold."""
        key = tuple(numbers)
        if key not in self._vanishing:
            self._vanishing[key] = self._held_only_by(numbers)
        return self._vanishing[key]

    def _held_only_by(self, numbers: Sequence[int]) -> tuple[str, ...]:
        gone = self.below(numbers)
        kept = {
            name
            for number, module in enumerate(self.trace.modules)
            if number not in gone
            for name in module.own_parameters
        }
        lost = {name for number in gone for name in self.module(number).own_parameters}
        return tuple(name for name in self.trace.parameters if name in lost - kept)

    def lost(self, runs: Sequence[Run], way: str = "") -> tuple[str, ...]:
        """Return the parameters that lose their gradient when places are cut.

        Args:
            runs: The places, cut together.
            way: "" when a constant replaces the results, "0" when operand 0 does, "-0" when only
                operand 0 is taken away.

        Raises:
            NoLegalEdit: No gradient from the output would reach the model's inputs.
        """
        graph = self.trace.gradients
        cut = {node: below for run in runs for node, below in cut_of(run, way)}
        reached = graph.walk(cut)
        before = self.reached
        origins = set(graph.origins)
        if before & origins and not (reached - cut.keys()) & origins:
            raise NoLegalEdit("no gradient from the output would reach the input")
        trained = [name for name, node in graph.parameters.items() if node in before]
        lost = tuple(name for name in trained if graph.parameters[name] not in reached)
        if trained and len(lost) == len(trained):
            raise NoLegalEdit("no parameter would be left to train")
        return lost

    def lost_leaves(self, runs: Sequence[Run]) -> tuple[str, ...]:
        """Return the parameters that lose their gradient when these reads of them are replaced."""
        graph = self.trace.gradients
        if self.trace.framework == "keras":  # its graph does not tell reads apart
            return self._read_nowhere_else(runs)
        reads = Counter(node for run in runs for made, _ in run.nodes for node in made)
        edges = Counter(node for below in graph.successors for node in below)
        return tuple(
            name for name, node in graph.parameters.items() if reads[node] >= max(edges[node], 1)
        )

    def _read_nowhere_else(self, runs: Sequence[Run]) -> tuple[str, ...]:
        """The parameters that these places read, and no other place."""
        here: set[str] = set()
        others: set[str] = set()
        for site in self.trace.sites.values():
            is_given = any(site is run for run in runs)
            (here if is_given else others).update(site.parameters)
        return tuple(name for name in self.trace.gradients.parameters if name in here - others)

    def below(self, numbers: Sequence[int]) -> set[int]:
        """Return modules and all that hangs below them and below nothing else."""
        tops = tuple(f"{name}." for number in numbers for name in self.module(number).names)
        return set(numbers) | {
            number
            for number, module in enumerate(self.trace.modules)
            if module.names and all(f"{name}.".startswith(tops) for name in module.names)
        }


def cut_of(run: Run, way: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the nodes of a place with the successors that they have after a cut."""
    for made, operands in run.nodes:
        if way.startswith("-"):
            gone = {way[1:], way[1:].removesuffix(".0")}  # the first may stand for its list, too
            kept = [node for name, node in operands.items() if name not in gone]
        else:
            kept = [operands.get(way)] if way else []
        below = tuple(node for node in kept if node is not None)
        yield from ((node, below) for node in made if node not in below)


def dotted(name: str) -> str:
    """Return a name with indices as parts: "blocks[0]" -> "blocks.0"."""
    return re.sub(r"\[(\d+)\]", r".\1", name)


def index_path(path: str) -> str:
    """Turn a module's name into Python: "transformer.h.3" -> "transformer.h[3]"."""
    text = ""
    for part in path.split("."):
        base, bracket, inside = part.partition("[")
        if base.isdecimal() or base == "*" or re.fullmatch(r"\d+(, \d+)+", base):
            text += f"[{base}]{bracket}{inside}"
        elif base.rstrip("*").isidentifier():
            text += f".{part}"
        else:
            text += f"[{part!r}]"
    return text.removeprefix(".")


def label(source: SourceFile, node: ast.AST) -> str:
    """Name an expression in a few characters: its function, its variable, its attribute."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and isinstance(
            node.func.value, ast.Call | ast.BinOp
        ):
            return f"{label(source, node.func.value)}.{node.func.attr}"
        return label(source, node.func)
    if isinstance(node, ast.Subscript):
        return label(source, node.value)
    if isinstance(node, ast.BinOp):
        signs = {**SIGNS, ast.MatMult: "@", ast.Pow: "**", ast.FloorDiv: "//", ast.Mod: "%"}
        sign = signs.get(type(node.op), "?")
        return f"({label(source, node.left)} {sign} {label(source, node.right)})"
    text = " ".join(source.source(node).split())
    return text if len(text) <= 32 else text[:29] + "..."
