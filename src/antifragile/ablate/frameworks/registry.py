"""The list of frameworks: one line each, asked by every part that must know about one."""

from __future__ import annotations

import importlib.util

from antifragile._optional import require
from antifragile.ablate.frameworks.base import Framework
from antifragile.ablate.frameworks.keras.framework import KERAS
from antifragile.ablate.frameworks.torch.framework import TORCH
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


def installed_framework(name: str) -> Framework:
    """Return the framework of that name, after a look whether it is installed.

    Raises:
        MissingExtraError: It is not.
    """
    framework = framework_named(name)
    if framework.extra is not None and importlib.util.find_spec(name) is None:
        require(name, extra=framework.extra, purpose=f"ablating a {framework.title} model")
    return framework
