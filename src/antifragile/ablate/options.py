"""Options of ``discover`` and ``generate``, and how a function of ours takes options as keywords.

ModelOptions     a model: its files and functions, or the command that trains it
SandboxOptions   the processes that run its code
with_options     a function of ``**options`` shows the fields of such classes as its own parameters

The command line adds help to the same classes (`cli.ablate.options`).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from antifragile._shown import show_path
from antifragile.ablate.certify.certificate import open_server
from antifragile.ablate.command.command import Command
from antifragile.ablate.command.preview import CommandModel, marks_elsewhere, watch_model
from antifragile.ablate.command.repository import ENTRY
from antifragile.ablate.records import AblationKind
from antifragile.ablate.request import ModelRequest, kind_named, parse_size, read_spec, write_spec
from antifragile.ablate.sandbox.job import Limits
from antifragile.ablate.sandbox.server import Server
from antifragile.errors import UsageError, nearest

Said = Callable[[str], None]  # takes a sentence for the user
_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """A model to look into.

    Args:
        source: Files of it that may be edited.
        build: ``FILE.py:function`` that returns the model.
        inputs: ``FILE.py:function`` that returns its inputs: a tensor, a tuple, a dictionary of
            keywords, or (args, kwargs).
        step: ``FILE.py:function(model, *inputs)`` that returns the loss of a training step.
        command: The command that trains it, as typed in a terminal; it is watched, and says which
            model it trains, so that neither `build` nor `inputs` is needed.
        preview_steps: Steps of an optimizer that are watched.
        spec: A TOML file with these options as keys, and ``[groups]``; with a command it is
            written where it is missing.
        templates: Folder of further edit templates (``*.toml``).
        inputs_as_components: List and ablate the model's inputs and their features too.
    """

    source: Sequence[str | Path] | str | Path | None = None
    build: str | None = None
    inputs: str | None = None
    step: str | None = None
    command: str | None = None
    preview_steps: int = 2
    spec: Path | str | None = None
    templates: Path | str | None = None
    inputs_as_components: bool = False

    def __post_init__(self) -> None:
        at_least(1, preview_steps=self.preview_steps)

    @property
    def sources(self) -> list[Path]:
        """The files, one or several, as paths."""
        given = [self.source] if isinstance(self.source, str | Path) else self.source or []
        return [Path(path) for path in given]

    @contextmanager
    def request(
        self,
        limits: Limits,
        *,
        said: Said,
        kinds: Sequence[str] | str | None = None,
        out: Path | None = None,
    ) -> Iterator[ModelRequest]:
        """Join the options with those of the spec file, and with what a command shows.

        Args:
            limits: Limits of the command's preview.
            said: Told which model a command trains.
            kinds: Kinds of ablation.
            out: Folder for the variants; None where none are made.
        """
        spec = None if self.spec is None else Path(self.spec)
        is_new = spec is not None and self.command is not None and not spec.exists()
        read = {} if spec is None or is_new else read_spec(spec)
        if self.command and read.get("command", self.command) != self.command:
            raise UsageError(
                f"{spec} is of another command: {read['command']!r}. Edit it there, or name "
                "another --spec."
            )
        values = {**read, **self._given(kinds)}
        if not values.get("command") or values.get("build"):
            yield ModelRequest.of(values)
            return
        command = Command.read(values["command"], folder=Path.cwd())
        sources = [Path(path) for path in values.get("source", ())]
        with _entry_file(spec, out) as entry:
            found = watch_model(
                command, entry, steps=self.preview_steps, limits=limits, sources=sources
            )
            seen = {
                "command": values["command"],
                "source": list(found.source),
                "build": f"{entry}:build",
                "inputs": f"{entry}:inputs",
            }
            written = [] if spec is None and out is None else [found.entry]
            if is_new and spec is not None:
                write_spec(spec, {**seen, **({"step": self.step} if self.step else {})})
                written.append(spec)
            said(_seen_words(found, written))
            if words := marks_elsewhere(found):
                said(words)
            yield ModelRequest.of({**values, **seen})

    def _given(self, kinds: Sequence[str] | str | None) -> dict[str, Any]:
        given = {
            "source": self.sources,
            "command": self.command,
            "build": self.build,
            "inputs": self.inputs,
            "step": self.step,
            "kinds": None if kinds is None else kinds_of(kinds),
            "templates": self.templates,
            "inputs_as_components": self.inputs_as_components,
        }
        return {key: value for key, value in given.items() if value}


@dataclass(frozen=True, kw_only=True)
class SandboxOptions:
    """The processes that run a model's code.

    Args:
        timeout: Seconds for each of them.
        memory: Memory for each, as in ``512MiB`` or ``4GiB``.
        framework: ``torch`` or ``keras``; None for what the source imports.
    """

    timeout: float = 60.0
    memory: str = "4GiB"
    framework: str | None = None

    @property
    def limits(self) -> Limits:
        """Limits of each process."""
        return Limits(timeout_s=self.timeout, memory_bytes=parse_size(self.memory))

    def server(self, workers: int, framework: str, *, is_certifying: bool = False) -> Server:
        """Start so many processes for models of a framework."""
        return open_server(
            workers=workers, limits=self.limits, framework=framework, is_certifying=is_certifying
        )


def entries_of(given: Sequence[str] | str | None) -> list[str]:
    """The entries of an option that takes several; a text is one of them."""
    return [given] if isinstance(given, str) else list(given or ())


def words_of(words: Sequence[str] | str) -> list[str]:
    """The words of an option that takes several, as a list or as in "identity,zero"."""
    return [word.strip() for word in words.split(",")] if isinstance(words, str) else list(words)


def kinds_of(words: Sequence[str] | str) -> list[AblationKind]:
    """The kinds of ablation of an option, by their names.

    Raises:
        SpecError: One is unknown.
    """
    return [kind_named(word) for word in words_of(words)]


def at_least(least: int, **numbers: int) -> None:
    """Refuse options that are smaller.

    Raises:
        UsageError: One is.
    """
    for name, number in numbers.items():
        if not isinstance(number, int):
            raise UsageError(f"{name} must be a whole number; got {number!r}.")
        if number < least:
            raise UsageError(f"{name} must be at least {least}; got {number}.")


def with_options(*kinds: type[Any]) -> Callable[[_Function], _Function]:
    """Let a function of ``**options`` show the fields of some classes as its keywords."""

    def shown(function: _Function) -> _Function:
        own = inspect.signature(function)
        parameters = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        for kind in kinds:
            parameters += inspect.signature(kind).parameters.values()
        function.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        return function

    return shown


def taken(options: Mapping[str, Any], *kinds: type[Any]) -> list[Any]:
    """Make an object of each class of the options that are its fields.

    Raises:
        UsageError: One is a field of none.
    """
    names = [{field.name for field in fields(kind)} for kind in kinds]
    known = set().union(*names)
    for name in options:
        if name not in known:
            raise UsageError(f"there is no option {name!r}; {nearest(name, sorted(known))}")
    return [
        kind(**{name: value for name, value in options.items() if name in own})
        for kind, own in zip(kinds, names, strict=True)
    ]


@contextmanager
def _entry_file(spec: Path | None, out: Path | None) -> Iterator[Path]:
    """The file that builds a command's model: beside the spec or the variants, else for now."""
    beside = spec.with_suffix("") if spec is not None else out
    if beside is not None:
        yield beside.with_name(f"{beside.name}{ENTRY}")
        return
    entry = Path.cwd() / f"_antifragile_{os.getpid()}.py"
    try:
        yield entry
    finally:
        for path in (entry, entry.with_suffix(".safetensors")):
            path.unlink(missing_ok=True)


def _seen_words(found: CommandModel, written: Sequence[Path]) -> str:
    """A sentence on what a command trains, and the files that say so for the next time."""
    seen = found.seen
    files = ", ".join(show_path(path) for path in found.source)
    each = f", {1000 * sum(seen.seconds) / len(seen.seconds):.3g} ms a step" if seen.seconds else ""
    kept = f" Written: {', '.join(map(show_path, written))}." if written else ""
    return (
        f"the command trains {seen.model}, {seen.parameters:,} parameters{each}, of {files}.{kept}"
    )
