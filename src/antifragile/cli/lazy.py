"""Groups of verbs that import a verb's module only when that verb is run.

Torch takes a second to import and statsmodels two. The list of verbs is shown from a table, so
that it answers at once, and a verb waits for nothing that it does not use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

_STYLE: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": "rich",
    "pretty_exceptions_enable": False,
}


@dataclass(frozen=True)
class Verb:
    """A verb of the command line before it is imported.

    Args:
        function: The function behind it, as in ``antifragile.cli.train:train``.
        help: The line in the list of verbs: the first paragraph of the function's docstring.
    """

    function: str
    help: str

    def load(self, name: str) -> Any:
        """Import the function and make a Typer command of it."""
        module, function = self.function.split(":")
        app = typer.Typer(**_STYLE)
        app.command(name)(getattr(import_module(module), function))
        return typer.main.get_command(app)


class LazyGroup(TyperGroup):
    """A group whose commands only carry a line of help until one of them is called."""

    verbs: ClassVar[Mapping[str, Verb]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        lines = {name: TyperCommand(name, help=verb.help) for name, verb in self.verbs.items()}
        self.commands = lines | dict(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that the first word names, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and name in self.verbs:
            command = self.verbs[name].load(name)
        return name, command, rest


def lazy_group(help: str, verbs: Mapping[str, Verb], *, name: str | None = None) -> typer.Typer:
    """Make a Typer app of verbs that are imported when they are called.

    Args:
        help: The group's line in the list above it.
        verbs: The verbs by name, in the order of the list.
        name: The program's name, for the outermost group.
    """
    return typer.Typer(
        name=name,
        cls=type("Verbs", (LazyGroup,), {"verbs": verbs}),
        help=help,
        no_args_is_help=True,
        **_STYLE,
    )
