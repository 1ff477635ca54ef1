"""A job names a function that a child can import, and gives it the arguments that it takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from antifragile.ablate.certify.probe import draw_again
from antifragile.ablate.sandbox.job import Job
from antifragile.ablate.sandbox.server import Server

ARGUMENTS = {"code": {}, "weights_file": "w", "results": "r", "kept_apart": []}


def local_function() -> Callable[[], None]:
    def inside() -> None:
        pass

    return inside


def test_the_text_of_a_target_is_its_module_and_name() -> None:
    job = Job(target=draw_again, folder=".", arguments=ARGUMENTS)
    assert job.reference == "antifragile.ablate.certify.probe:draw_again"


@pytest.mark.parametrize("target", [lambda: None, local_function(), Server.close])
def test_what_a_child_cannot_import_is_no_target(target: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="needs a function at the top of a module"):
        Job(target=target, folder=".")


@pytest.mark.parametrize(
    "arguments",
    [{}, ARGUMENTS | {"more": 1}, {"code": {}}],
)
def test_arguments_must_be_those_of_the_target(arguments: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="argument"):
        Job(target=draw_again, folder=".", arguments=arguments)
