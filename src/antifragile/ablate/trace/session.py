"""First steps of every trace: read the sources, call the user's functions."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from antifragile.ablate.records import Entry, Project
from antifragile.ablate.sandbox.loading import stage
from antifragile.ablate.source.project import entry_function, module_name
from antifragile.ablate.source.syntax import SourceFile, read_source


def read_sources(project: Project) -> dict[str, SourceFile]:
    """Read a project's sources, by file."""
    return {file: read_source(project.root, file) for file in project.sources}


def call_entry(project: Project, entry: Entry, *arguments: object) -> Any:
    """Import an entry's file and call its function, each under its own name for error messages."""
    with stage(f"importing {entry.file}"):
        function = entry_function(project, entry)
    with stage(f"{entry.function}() of {entry.file}"):
        return function(*arguments)


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
