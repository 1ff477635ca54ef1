"""The list of frameworks: one line each, asked by every part that must know about one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from antifragile._optional import require
from antifragile.ablate.frameworks.base import Framework
from antifragile.ablate.frameworks.keras.framework import KERAS
from antifragile.ablate.frameworks.torch.framework import TORCH
from antifragile.ablate.records import Project
from antifragile.ablate.source.project import imported_names
from antifragile.errors import UsageError, nearest

FRAMEWORKS = {framework.name: framework for framework in (TORCH, KERAS)}
DEFAULT_FRAMEWORK = TORCH.name


def framework_named(name: str) -> Framework:
    """Return the framework of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in FRAMEWORKS:
        raise UsageError(f"unknown framework {name!r}; {nearest(name, FRAMEWORKS)}")
    return FRAMEWORKS[name]


def framework_of(project: Project) -> str:
    """Return the framework that a model's files import: Keras where they leave torch to it."""
    files = {*project.sources, *(entry.file for entry in project.entries.values())}
    names = [name for file in sorted(files) for name in imported_names(Path(project.root, file))]
    tops = {dotted.partition(".")[0] for level, dotted in names if not level}
    is_keras = not tops.isdisjoint(("keras", "tensorflow")) and "torch" not in tops
    return KERAS.name if is_keras else DEFAULT_FRAMEWORK


def installed_framework(name: str) -> Framework:
    """Return the framework of that name, after a look whether it is installed.

    Raises:
        MissingExtraError: It is not.
    """
    framework = framework_named(name)
    if framework.extra is not None and importlib.util.find_spec(name) is None:
        require(name, extra=framework.extra, purpose=f"ablating a {framework.title} model")
    return framework
