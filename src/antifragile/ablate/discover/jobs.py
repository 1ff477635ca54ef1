"""What runs in the children of the server before there are variants: a first look, the trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antifragile.ablate.frameworks.subject import Subject
from antifragile.ablate.records import project_from
from antifragile.ablate.source.project import enter_project
from antifragile.ablate.trace.records import Trace, trace


def look(folder: str, entries: dict[str, Any], framework: str) -> int:
    """Build the model and run it once in both modes, so that what is wrong is said in words.

    Args:
        folder: The project's root.
        entries: ``build``, ``inputs`` and ``step``: [file, function, module name] or None.
        framework: Name of the adapter.

    Returns:
        The number of parameters.

    Raises:
        Refusal: It does not run.
    """
    seen = Subject(folder, entries, framework, hidden=()).observe({})
    return sum(seen.parameters.values())


def trace_job(project: Mapping[str, Any], framework: str) -> Trace:
    """Trace a project in this process.

    Args:
        project: `asdict` of the project.
        framework: Name of the adapter.
    """
    found = project_from(project)
    enter_project(found)
    return trace(found, framework)
