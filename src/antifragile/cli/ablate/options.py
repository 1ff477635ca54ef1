"""The options of ``ablate discover`` and ``generate``: a model, and the processes that run it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from antifragile.ablate.certify.certificate import open_server
from antifragile.ablate.request import ModelRequest, parse_size
from antifragile.ablate.sandbox.job import Limits
from antifragile.ablate.sandbox.server import Server


def words_of(text: str) -> list[str]:
    """The words of an option that takes several, as in "identity,zero"."""
    return [word.strip() for word in text.split(",")]


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """The files and functions of a model."""

    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Further source files, as in --source model.py layers.py blocks.py."),
    ] = None
    source: Annotated[
        list[Path] | None,
        typer.Option("--source", help="A file of the model; more may follow.", show_default=False),
    ] = None
    build: Annotated[
        str | None,
        typer.Option(help="FILE.py:function that returns the model.", show_default=False),
    ] = None
    inputs: Annotated[
        str | None,
        typer.Option(
            help="FILE.py:function that returns the inputs: a tensor, a tuple, a dictionary of "
            "keywords, or (args, kwargs).",
            show_default=False,
        ),
    ] = None
    step: Annotated[
        str | None,
        typer.Option(
            help="FILE.py:function(model, *inputs) that returns the loss of a training step; "
            "without --inputs it makes its own batch.",
            show_default=False,
        ),
    ] = None
    spec: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file with these options as keys, and [groups].", show_default=False
        ),
    ] = None
    templates: Annotated[
        Path | None,
        typer.Option(help="Folder of further edit templates (*.toml).", show_default=False),
    ] = None
    inputs_as_components: Annotated[
        bool,
        typer.Option(
            "--inputs-as-components",
            help="List and ablate the model's inputs and their features too; labels never.",
        ),
    ] = False

    def request(self, kinds: str | None = None) -> ModelRequest:
        """Join the options with those of the spec file."""
        given = {
            "source": [*(self.source or []), *(self.files or [])],
            "build": self.build,
            "inputs": self.inputs,
            "step": self.step,
            "kinds": None if kinds is None else words_of(kinds),
            "templates": self.templates,
            "inputs_as_components": self.inputs_as_components,
        }
        return ModelRequest.read(self.spec, {key: value for key, value in given.items() if value})


@dataclass(frozen=True, kw_only=True)
class SandboxFlags:
    """The processes that run a model's code."""

    timeout: Annotated[
        float, typer.Option(min=0.1, max=1e8, help="Seconds for each process that runs the model.")
    ] = 60.0
    memory: Annotated[
        str,
        typer.Option(help="Memory for each process that runs the model, as in 512MiB or 4GiB."),
    ] = "4GiB"
    framework: Annotated[
        str | None,
        typer.Option(
            help="torch, or keras: Keras 3 on the back end that KERAS_BACKEND names.",
            show_default="what the source imports",
        ),
    ] = None

    def server(self, workers: int, framework: str, *, is_certifying: bool = False) -> Server:
        """Start so many processes for models of a framework."""
        limits = Limits(timeout_s=self.timeout, memory_bytes=parse_size(self.memory))
        return open_server(
            workers=workers, limits=limits, framework=framework, is_certifying=is_certifying
        )
