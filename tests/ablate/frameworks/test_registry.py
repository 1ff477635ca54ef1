"""Every framework is complete in the registry, and asking it imports no framework."""

from __future__ import annotations

import subprocess
import sys

import pytest

from antifragile.ablate.frameworks.base import Framework
from antifragile.ablate.frameworks.registry import (
    DEFAULT_FRAMEWORK,
    FRAMEWORKS,
    framework_named,
    installed_framework,
)
from antifragile.ablate.plan.catalogue import load_templates
from antifragile.errors import UsageError


@pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=FRAMEWORKS)
def test_a_framework_is_complete(framework: Framework) -> None:
    assert framework_named(framework.name) is framework
    assert load_templates(framework=framework.name)
    ours = [name for name in framework.preload if name.startswith("antifragile.")]
    assert ours == [f"antifragile.ablate.frameworks.{framework.name}.models"]
    assert framework.placeholders({}).keys() >= {"torch", "nn", "functional"}


def test_an_unknown_framework_is_told_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown framework 'tensorflow'.*torch"):
        framework_named("tensorflow")


def test_the_default_needs_no_extra() -> None:
    assert installed_framework(DEFAULT_FRAMEWORK).extra is None


def test_the_registry_imports_no_framework() -> None:
    script = (
        "import sys, antifragile.ablate.frameworks.registry\n"
        "print([name for name in ('torch', 'keras', 'tensorflow') if name in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout == "[]\n"
