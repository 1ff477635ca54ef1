"""The import graph of the package, read from its source: late imports and type-only ones count."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import antifragile

ROOT = Path(antifragile.__file__).parent
Graph = Mapping[str, set[str]]


def source_files() -> list[Path]:
    """Return every Python file of the package."""
    return sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)


def module_name(path: Path) -> str:
    """Return the dotted name of a file, a package's own name for its ``__init__.py``."""
    parts = ("antifragile", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(path: Path) -> list[str]:
    """Return the dotted names a file imports, wherever in the file the statement stands."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def import_graph() -> dict[str, set[str]]:
    """Return the modules that each module of the package imports."""
    modules = {module_name(path): path for path in source_files()}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        targets = {module_of(name, modules) for name in imported_names(path)}
        graph[module] = targets - {module, ""}
    return graph


def module_of(name: str, modules: Iterable[str]) -> str:
    """Return the module that an imported name lives in; "" when it is not ours."""
    if name in modules:
        return name
    parent = name.rpartition(".")[0]
    return parent if parent in modules else ""


def circle_in(graph: Graph) -> list[str]:
    """Return one circle of a graph, its first member twice; [] when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def rooms_of(folder: Path, graph: Graph) -> dict[str, set[str]]:
    """Return the graph between the files and sub-folders of one folder, each taken as a whole."""
    prefix = f"{module_name(folder / '__init__.py')}."
    rooms: dict[str, set[str]] = {}
    for module, targets in graph.items():
        if not module.startswith(prefix):
            continue
        room = module.removeprefix(prefix).split(".")[0]
        inside = {t.removeprefix(prefix).split(".")[0] for t in targets if t.startswith(prefix)}
        rooms.setdefault(room, set()).update(inside - {room})
    return rooms
