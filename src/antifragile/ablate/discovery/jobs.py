"""Jobs for child processes before there are variants: a first look at the model, and its trace."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from antifragile._records import from_json
from antifragile.ablate.frameworks.registry import framework_named
from antifragile.ablate.frameworks.subject import CodeFields, Subject
from antifragile.ablate.records import Project
from antifragile.ablate.source.project import enter_project
from antifragile.ablate.trace.records import Trace


def look(code: CodeFields) -> bool:
    """Build the model and run it once in both modes, so that a fault is reported in words.

    Args:
        code: Fields of the `ModelCode`.

    Returns:
        Whether it changed the import path: modules that were imported before may be others then.

    Raises:
        Refusal: It does not run.
    """
    path = list(sys.path)
    Subject(code).observe({})
    return sys.path != path


def parameter_sizes(code: CodeFields) -> dict[str, int]:
    """Elements of each parameter of a model, by name.

    Args:
        code: Fields of the `ModelCode`.
    """
    subject = Subject(code)
    return subject.adapter.parameters(subject.ready()[0])


def trace_job(project: Mapping[str, Any], framework: str) -> Trace:
    """Trace a project in this process.

    Args:
        project: `asdict` of the project.
        framework: Name of the framework.
    """
    found: Project = from_json(Project, project)
    enter_project(found)
    return framework_named(framework).trace(found)
