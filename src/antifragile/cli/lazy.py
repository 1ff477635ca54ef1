"""Groups of verbs that import a verb's module only when that verb is run.

Torch takes a second to import and statsmodels two. The list of verbs is shown from the docstrings
in the source, so that it answers at once, and a verb waits for nothing that it does not use.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

_STYLE: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": "rich",
    "pretty_exceptions_enable": False,
}


def load_verb(name: str, function: str) -> Any:
    """Import a function, as in ``antifragile.cli.train:train``, and make a Typer command of it."""
    app = typer.Typer(**_STYLE)
    app.command(name)(with_flags(resolve_name(function)))
    return typer.main.get_command(app)


def summary_of(function: str) -> str:
    """Read the first paragraph of a function's docstring from its source, without importing it."""
    module, name = function.split(":")
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    paragraph, *_ = (ast.get_docstring(functions[name]) or "").split("\n\n")
    return " ".join(paragraph.split())


def with_flags(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function that Typer understands of one with dataclasses among its parameters.

    Such a parameter stands for its fields: ``run(*, spec, flags: RunFlags, as_json=False)``
    becomes ``run(*, spec, workers=None, engine="fleet", ..., as_json=False)``.
    """
    signature = inspect.signature(function, eval_str=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[Callable[..., object], list[str]]] = {}
    for name, parameter in signature.parameters.items():
        kind = parameter.annotation
        if isinstance(kind, type) and is_dataclass(kind):
            fields = inspect.signature(kind, eval_str=True).parameters
            groups[name] = (kind, list(fields))
            parameters += fields.values()
        else:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))

    @functools.wraps(function)
    def command(**values: Any) -> None:
        for name, (kind, fields) in groups.items():
            values[name] = kind(**{field: values.pop(field) for field in fields})
        function(**values)

    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


class LazyGroup(TyperGroup):
    """A group whose commands only carry a line of help until one of them is called."""

    verbs: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name) for name in self.verbs} | dict(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command for the list of them, with its line of help."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and cmd_name in self.verbs:
            command.help = summary_of(self.verbs[cmd_name])
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that the first word names, and import it."""
        name, *rest = args
        if name in self.verbs:
            return name, load_verb(name, self.verbs[name]), rest
        return super().resolve_command(ctx, args)


def lazy_group(help: str, verbs: Mapping[str, str], *, name: str | None = None) -> typer.Typer:
    """Make a Typer app of verbs that are imported when they are called.

    Args:
        help: The group's line in the list above it.
        verbs: The function behind each verb, as in ``antifragile.cli.train:train``, in the order
            of the list.
        name: The program's name, for the outermost group.
    """
    return typer.Typer(
        name=name,
        cls=type("Verbs", (LazyGroup,), {"verbs": verbs}),
        help=help,
        no_args_is_help=True,
        **_STYLE,
    )
