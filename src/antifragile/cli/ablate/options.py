"""The options of ``ablate discover`` and ``generate``: a model, and the processes that run it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from antifragile.ablate.options import ModelOptions, SandboxOptions


@dataclass(frozen=True, kw_only=True)
class ModelFlags(ModelOptions):
    """The files and functions of a model."""

    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Further source files, as in --source model.py layers.py blocks.py."),
    ] = None
    source: Annotated[
        list[Path] | None,
        typer.Option("--source", help="A file of the model; more may follow.", show_default=False),
    ]
    build: Annotated[
        str | None,
        typer.Option(help="FILE.py:function that returns the model.", show_default=False),
    ]
    inputs: Annotated[
        str | None,
        typer.Option(
            help="FILE.py:function that returns the inputs: a tensor, a tuple, a dictionary of "
            "keywords, or (args, kwargs).",
            show_default=False,
        ),
    ]
    step: Annotated[
        str | None,
        typer.Option(
            help="FILE.py:function(model, *inputs) that returns the loss of a training step; "
            "without --inputs it makes its own batch.",
            show_default=False,
        ),
    ]
    command: Annotated[
        str | None,
        typer.Option(
            help="The command that trains the model, as you type it, as in 'python train.py --seed "
            "{seed} --out {out}': it is watched, and says which model it trains; no --build, no "
            "--inputs.",
            show_default=False,
        ),
    ]
    preview_steps: Annotated[
        int, typer.Option(min=1, max=10_000, help="With --command: steps that are watched.")
    ]
    spec: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file with these options as keys, and a table of groups; discover "
            "--command writes it where it is missing.",
            show_default=False,
        ),
    ]
    templates: Annotated[
        Path | None,
        typer.Option(help="Folder of further edit templates (*.toml).", show_default=False),
    ]
    inputs_as_components: Annotated[
        bool,
        typer.Option(
            "--inputs-as-components",
            help="List and ablate the model's inputs and their features too; labels never.",
        ),
    ]

    @property
    def sources(self) -> list[Path]:
        """The files: those after ``--source`` and those that follow."""
        return [*(self.source or []), *(self.files or [])]


@dataclass(frozen=True, kw_only=True)
class SandboxFlags(SandboxOptions):
    """The processes that run a model's code."""

    timeout: Annotated[
        float, typer.Option(min=0.1, max=1e8, help="Seconds for each process that runs the model.")
    ]
    memory: Annotated[
        str,
        typer.Option(help="Memory for each process that runs the model, as in 512MiB or 4GiB."),
    ]
    framework: Annotated[
        str | None,
        typer.Option(
            help="torch, or keras: Keras 3 on the back end that KERAS_BACKEND names.",
            show_default="what the source imports",
        ),
    ]
