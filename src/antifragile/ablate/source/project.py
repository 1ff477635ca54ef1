"""The user's files as one project: editable sources, files they import, functions to call.

A model lives in a few source files; `build` and `inputs` (and `step`) are functions that may live
there too or in a small file of their own. The root is the deepest folder from which all of them can
be imported: packages are imported by their dotted name, so relative and star imports work.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from antifragile.ablate.records import Entry, Project
from antifragile.ablate.source.imports import read_sources_alone
from antifragile.ablate.source.text import parse_file
from antifragile.errors import SpecError, nearest

_FRAMEWORKS = ("torch", "keras", "tensorflow")


def load_project(
    sources: Sequence[Path], build: str, inputs: str | None, step: str | None = None
) -> Project:
    """Read the files of a model and find the files that belong to it; nothing is imported or run.

    Args:
        sources: Python files that may be edited.
        build: `FILE.py:function`; returns the model.
        inputs: `FILE.py:function`; returns the model's inputs. None where the step makes its own.
        step: `FILE.py:function`; takes the model and the inputs, returns the loss of one step.

    Returns:
        The project, every path relative to its root.

    Raises:
        SpecError: A file is missing or does not parse, or has no such function.
    """
    if not sources:
        raise SpecError("no source file given. Name at least one, as in --source MODEL.py.")
    editable = [existing_file(Path(source)) for source in sources]
    for path in editable:
        check_not_of_framework(path)
    texts = {"build": build, "inputs": inputs, "step": step}
    entries = {role: split_entry(role, text, editable) for role, text in texts.items() if text}
    files = list(dict.fromkeys([*editable, *(file for file, _ in entries.values())]))
    for path in files:
        parse_file(path)
    for file, function in entries.values():
        check_function(file, function)
    tops = list(dict.fromkeys(package_top(path) for path in files))
    root = Path(os.path.commonpath(tops))

    def below(path: Path) -> str:
        return path.relative_to(root).as_posix()

    found = {role: Entry(file=below(file), function=name) for role, (file, name) in entries.items()}
    imported = [path for path in companions_of(files, tops) if path not in editable]
    return Project(
        root=str(root),
        sources=tuple(map(below, dict.fromkeys(editable))),
        build=found["build"],
        inputs=found.get("inputs"),
        step=found.get("step"),
        companions=tuple(below(path) for path in imported if installed_package(path) is None),
        installed=tuple(below(path) for path in imported if installed_package(path) is not None),
        search_paths=tuple(below(top) for top in tops),
    )


def existing_file(path: Path) -> Path:
    """Return the absolute path of a Python file that is there, or say that it is not."""
    if not path.is_file():
        raise SpecError(f"no such file: {path}. Expected a Python source file.")
    return path.resolve()


def installed_package(path: Path) -> str | None:
    """Return the name of the installed package that a file belongs to, if it does to one."""
    library = next((folder for folder in path.parents if _holds_packages(folder)), None)
    return path.relative_to(library).parts[0] if library is not None else None


@cache
def _holds_packages(folder: Path) -> bool:
    """Whether packages were installed into a folder."""
    is_named_so = folder.name in ("site-packages", "dist-packages")
    return is_named_so or any(folder.glob("*.dist-info"))


def check_not_of_framework(path: Path) -> None:
    """Refuse to edit the package that runs the model: its other files are loaded already."""
    package = installed_package(path)
    if package in _FRAMEWORKS:
        raise SpecError(
            f"{path} belongs to the installed package {package!r}, which itself runs the model. "
            "Copy the file beside your own, and build the model from the copy."
        )


def split_entry(role: str, text: str, sources: Sequence[Path]) -> tuple[Path, str]:
    """Split `FILE.py:function`; a bare file name may also be one of the sources."""
    file, colon, function = text.rpartition(":")
    if not colon or not function.isidentifier():
        raise SpecError(f"--{role} expects FILE.py:function; got {text!r}.")
    if not Path(file).is_file():
        for source in sources:
            if source.name == file or (source.parent / file).is_file():
                return (source.parent / file).resolve(), function
    return existing_file(Path(file)), function


def check_function(path: Path, function: str) -> None:
    """Check that a file has a function; the error lists those it has."""
    names = set(top_level_names(parse_file(path).body))
    if function not in names and "*" not in names:
        raise SpecError(f"{path.name} has no function {function!r}; {nearest(function, names)}")


def top_level_names(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Yield names bound by def, class, assignment or import, also under `if` and `try`."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.If | ast.Try | ast.With):
            for part in ("body", "orelse", "finalbody"):
                yield from top_level_names(getattr(node, part, []))


def package_top(path: Path) -> Path:
    """Return the first folder above a file that is not a package."""
    folder = path.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def companions_of(files: Sequence[Path], tops: Sequence[Path]) -> list[Path]:
    """Follow imports from the files to every local file they need, package openings included.

    Of a folder of installed packages, only those that hold one of the files are local.
    """
    seen, queue = set[Path](), list(files)
    own = {installed_package(path) for path in files} | {None}
    while queue:
        path = queue.pop(0)
        if path in seen:
            continue
        seen.add(path)
        queue += package_openings(path)
        found = filter(None, (local_file(name, path, tops) for name in imported_names(path)))
        queue += (file for file in found if installed_package(file) in own)
    return sorted(seen)


def package_openings(path: Path) -> list[Path]:
    """Return the `__init__.py` files that importing a file runs."""
    top = package_top(path)
    return [
        folder / "__init__.py"
        for folder in path.parents
        if folder != top and folder.is_relative_to(top)
    ]


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (level, dotted name) of everything a file imports; level counts the leading dots."""
    for node in _statements(parse_file(path)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""
            prefix = f"{node.module}." if node.module else ""
            yield from ((node.level, prefix + alias.name) for alias in node.names)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements below a node; expressions, which hold none, are not entered."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, part, ()):
            yield child
            yield from _statements(child)


def local_file(name: tuple[int, str], path: Path, tops: Sequence[Path]) -> Path | None:
    """Return the local file behind one imported name: none when it belongs to a library."""
    level, dotted = name
    starts = [path.parents[level - 1]] if level else dict.fromkeys([package_top(path), *tops])
    for start in starts:
        target = start.joinpath(*dotted.split(".")) if dotted else start
        for candidate in (target.with_suffix(".py"), target / "__init__.py"):
            if target.name and candidate.is_file():
                return candidate
    return None


def module_name(project: Project, file: str) -> str:
    """Return the dotted name under which a file is imported, from the deepest search path."""
    path = Path(project.root, file)
    top = package_top(path)
    if top.relative_to(project.root).as_posix() not in project.search_paths:
        top = Path(project.root)
    parts = path.relative_to(top).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def enter_project(project: Project, folder: Path | None = None) -> None:
    """Put the project's folders at the front of the import path of this process.

    Args:
        project: The project.
        folder: A variant's folder, laid out like the root; the root itself when None.
    """
    base = Path(project.root) if folder is None else folder.resolve()
    if folder is not None:
        read_sources_alone(base)
    sys.dont_write_bytecode = True
    sys.path[:0] = [str((base / path).resolve()) for path in project.search_paths]
    importlib.invalidate_caches()


def entry_function(project: Project, entry: Entry) -> Callable[..., Any]:
    """Import an entry's file and return its function; call `enter_project` first.

    Importing runs the user's code: do this only in a process of its own.
    """
    module = importlib.import_module(module_name(project, entry.file))
    function: Callable[..., Any] = getattr(module, entry.function)
    return function
