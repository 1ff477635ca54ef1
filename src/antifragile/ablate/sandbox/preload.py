"""Third-party modules that a model imports, imported once in the server instead of in every child.

    source files -> `third_party_imports` -> names -> `Server.import_packages` -> a successor of the
                                                       server: `imported_without_harm`

Only what lies outside the project is taken: site-packages, and other folders on the import path; of
a project that changes the import path, nothing. The process that imports them looks at its own
state before and after each:
an import that starts a thread, opens a GPU, changes the import path, the working folder, a default
of torch or a signal's handler, or that loads a file of the project, ends the list, as later ones
may build on it. Variables that an import sets are the same in every process that makes it, and so
are random streams that it seeds or draws from, so these are let be.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from antifragile.ablate.records import Project
from antifragile.ablate.source.project import installed_package
from antifragile.ablate.source.text import parse_file

_SITES = frozenset(("site-packages", "dist-packages"))
_OURS = "antifragile"
_STARTED_AGAIN = ("jemalloc_bg_thd",)  # of pyarrow, which pandas and many others import
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)


def third_party_imports(project: Project, files: Sequence[str]) -> tuple[str, ...]:
    """Modules of others that a model's files import, as "package.module" or "module:name".

    Args:
        project: The project.
        files: Its files; imports at their top and in the functions that the user named count.

    Returns:
        Nothing where a file speaks of `sys.path`: another place may hold modules of these names.
        Nothing either where an installed package is edited, which the others may import.
    """
    if any(installed_package(Path(project.root, file)) for file in project.sources):
        return ()
    entries = (project.build, project.inputs, project.step)
    found: dict[str, None] = {}
    for file in files:
        if file.endswith(".py") and Path(project.root, file).is_file():
            named = {entry.function for entry in entries if entry and entry.file == file}
            tree = parse_file(Path(project.root, file))
            if any(_is_import_path(node) for node in ast.walk(tree)):
                return ()
            found |= dict.fromkeys(_imports(tree.body, named))
    return tuple(name for name in found if _is_third_party(name, project))


def imported_without_harm(names: Sequence[str], root: str) -> Iterator[str]:
    """Import modules one by one in this process; yield those before the first that does more.

    Args:
        names: The modules.
        root: Folder of the project; no file of it may be loaded.
    """
    before, torch_before = _state(root), _torch_state()
    for name in names:
        try:
            import_named(name)
        except (Exception, SystemExit):  # the model's own import tells why
            return
        torch_now = _torch_state()
        if _state(root) != before or (torch_before and torch_now != torch_before):
            return
        torch_before = torch_now
        yield name


def is_imported(name: str) -> bool:
    """Whether `import_named` has nothing left to do."""
    module, _, attribute = name.partition(":")
    return module in sys.modules and (not attribute or hasattr(sys.modules[module], attribute))


def import_named(name: str) -> None:
    """Import "package.module", or take a name from it as in "module:name"."""
    module, _, attribute = name.partition(":")
    found = importlib.import_module(module)
    if attribute and not hasattr(found, attribute):  # many packages import when asked for a name
        importlib.import_module(f"{module}.{attribute}")


def _is_import_path(node: ast.AST) -> bool:
    """Whether it is `sys.path`."""
    return isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path"


def _imports(body: Sequence[ast.stmt], functions: set[str]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (
                node.module if alias.name == "*" else f"{node.module}:{alias.name}"
                for alias in node.names
            )
        elif isinstance(node, ast.FunctionDef) and node.name in functions:
            yield from _imports(node.body, set())
        elif isinstance(node, ast.Try | ast.With):
            yield from _imports(node.body, functions)


def _is_third_party(name: str, project: Project) -> bool:
    """Whether it lies outside the project, is no part of Python, and no file hides its name."""
    top = name.partition(":")[0].partition(".")[0]
    folders = [Path(project.root, path) for path in project.search_paths]
    if any((f / top).exists() or (f / f"{top}.py").exists() for f in folders):
        return False
    if top == _OURS or top in sys.stdlib_module_names:
        return False
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    places = list(spec.submodule_search_locations or ())
    places += [spec.origin] if spec.has_location and spec.origin else []
    return bool(places) and all(_is_outside(Path(place).resolve(), project) for place in places)


def _is_outside(place: Path, project: Project) -> bool:
    """Whether a place is no part of the project; its virtual environment may lie below its root."""
    is_below = place.is_relative_to(Path(project.root).resolve())
    return not is_below or not _SITES.isdisjoint(place.parts)


def _state(root: str) -> list[Any]:
    """All that an import must leave as it is, but for the defaults of torch."""
    return [
        threading.active_count(),
        _native_threads(),
        _modules_of(root),
        list(sys.path),
        os.getcwd(),
        [signal.getsignal(number) for number in _SIGNALS],
    ]


def _modules_of(root: str) -> list[str]:
    """Modules whose file is one of the project's, and of no virtual environment below its root."""
    start = os.path.join(os.path.realpath(root), "")
    files = [(name, getattr(one, "__file__", None)) for name, one in list(sys.modules.items())]
    return [name for name, file in files if file and _is_of_project(file, start)]


@cache
def _is_of_project(file: str, start: str) -> bool:
    """Whether a module's file is the project's; asked again for all modules after each import."""
    place = os.path.realpath(file)
    return place.startswith(start) and _SITES.isdisjoint(Path(place).relative_to(start).parts)


def _native_threads() -> int:
    """Number of threads but those that a fork starts again by itself."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return sum(name not in _STARTED_AGAIN for name in names)


def _torch_state() -> list[Any]:
    """Defaults of torch; nothing where it is not imported yet."""
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    return [
        torch.get_default_dtype(),
        str(torch.get_default_device()),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.cuda.is_initialized(),
    ]
