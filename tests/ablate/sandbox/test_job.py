"""A job names a function that a child can import, and gives it the arguments that it takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from antifragile.ablate.sandbox.cold import import_cold
from antifragile.ablate.sandbox.job import Job
from antifragile.ablate.sandbox.server import Server


def local_function() -> Callable[[], None]:
    def inside() -> None:
        pass

    return inside


def test_the_text_of_a_target_is_its_module_and_name() -> None:
    arguments = {"variants": [], "packages": [], "hidden": []}
    job = Job(target=import_cold, folder=".", arguments=arguments)
    assert job.reference == "antifragile.ablate.sandbox.cold:import_cold"


@pytest.mark.parametrize("target", [lambda: None, local_function(), Server.close])
def test_what_a_child_cannot_import_is_no_target(target: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="needs a function at the top of a module"):
        Job(target=target, folder=".")


@pytest.mark.parametrize(
    "arguments",
    [{}, {"variants": [], "packages": [], "hidden": [], "more": 1}, {"variants": []}],
)
def test_arguments_must_be_those_of_the_target(arguments: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="argument"):
        Job(target=import_cold, folder=".", arguments=arguments)
