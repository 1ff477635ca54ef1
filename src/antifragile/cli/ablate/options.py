"""The options of ``ablate discover`` and ``generate``: a model, and the processes that run it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from antifragile._shown import show_path
from antifragile.ablate.certify.certificate import open_server
from antifragile.ablate.command.command import Command
from antifragile.ablate.command.preview import CommandModel, watch_model
from antifragile.ablate.request import ModelRequest, parse_size, read_spec, write_spec
from antifragile.ablate.sandbox.job import Limits
from antifragile.ablate.sandbox.server import Server
from antifragile.cli.console import stderr


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
    command: Annotated[
        str | None,
        typer.Option(
            help="The command that trains the model, as you type it, as in 'python train.py --seed "
            "{seed} --out {out}': it is watched, and says which model it trains; no --build, no "
            "--inputs.",
            show_default=False,
        ),
    ] = None
    preview_steps: Annotated[
        int, typer.Option(min=1, max=10_000, help="With --command: steps that are watched.")
    ] = 2
    spec: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file with these options as keys, and [groups]; discover --command writes "
            "it where it is missing.",
            show_default=False,
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

    @contextmanager
    def request(
        self, limits: Limits, *, kinds: str | None = None, out: Path | None = None
    ) -> Iterator[ModelRequest]:
        """Join the options with those of the spec file, and with what a command shows.

        Args:
            limits: Limits of the command's preview.
            kinds: Kinds of ablation.
            out: Folder for the variants; None where none are made.
        """
        is_new = self.spec is not None and self.command is not None and not self.spec.exists()
        values = {
            **({} if self.spec is None or is_new else read_spec(self.spec)),
            **self._given(kinds),
        }
        if not values.get("command") or values.get("build"):
            yield ModelRequest.of(values)
            return
        command = Command.read(values["command"], folder=Path.cwd())
        sources = [Path(path) for path in values.get("source", ())]
        with _entry_file(self.spec, out) as entry:
            found = watch_model(
                command, entry, steps=self.preview_steps, limits=limits, sources=sources
            )
            seen = {
                "command": values["command"],
                "source": list(found.source),
                "build": f"{entry}:build",
                "inputs": f"{entry}:inputs",
            }
            if is_new and self.spec is not None:
                write_spec(self.spec, seen)
            _say_seen(found)
            yield ModelRequest.of({**values, **seen})

    def _given(self, kinds: str | None) -> dict[str, Any]:
        given = {
            "source": [*(self.source or []), *(self.files or [])],
            "command": self.command,
            "build": self.build,
            "inputs": self.inputs,
            "step": self.step,
            "kinds": None if kinds is None else words_of(kinds),
            "templates": self.templates,
            "inputs_as_components": self.inputs_as_components,
        }
        return {key: value for key, value in given.items() if value}


@contextmanager
def _entry_file(spec: Path | None, out: Path | None) -> Iterator[Path]:
    """The file that builds a command's model: beside the spec or the variants, else for now."""
    beside = spec.with_suffix("") if spec is not None else out
    if beside is not None:
        yield beside.with_name(f"{beside.name}_entry.py")
        return
    entry = Path.cwd() / f"_antifragile_{os.getpid()}.py"
    try:
        yield entry
    finally:
        for path in (entry, entry.with_suffix(".safetensors")):
            path.unlink(missing_ok=True)


def _say_seen(found: CommandModel) -> None:
    seen = found.seen
    files = ", ".join(show_path(path) for path in found.source)
    each = f", {1000 * sum(seen.seconds) / len(seen.seconds):.3g} ms a step" if seen.seconds else ""
    words = f"the command trains {seen.model}, {seen.parameters:,} parameters{each}, of {files}"
    stderr().print(f"{words}.", soft_wrap=True)


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

    @property
    def limits(self) -> Limits:
        """Limits of each process."""
        return Limits(timeout_s=self.timeout, memory_bytes=parse_size(self.memory))

    def server(self, workers: int, framework: str, *, is_certifying: bool = False) -> Server:
        """Start so many processes for models of a framework."""
        return open_server(
            workers=workers, limits=self.limits, framework=framework, is_certifying=is_certifying
        )
