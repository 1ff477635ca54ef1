"""The verbs: their functions and lines of help, and the options that a dataclass stands for."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from antifragile.cli.lazy import load_verb, summary_of, with_flags
from antifragile.cli.verbs import GROUPS, VERBS

ALL = VERBS | {
    f"{group} {name}": verb for group, (_, verbs) in GROUPS.items() for name, verb in verbs.items()
}


@pytest.mark.parametrize(("name", "function"), ALL.items(), ids=list(ALL))
def test_the_line_of_help_is_the_start_of_the_docstring(name: str, function: str) -> None:
    text = inspect.getdoc(resolve_name(function))
    assert text is not None
    assert " ".join(text.split("\n\n")[0].split()) == summary_of(function) != ""
    assert load_verb(name.split()[-1], function).name == name.split()[-1]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Two options of a verb."""

    depth: Annotated[int, typer.Option(help="How deep.")] = 3
    is_dry: Annotated[bool, typer.Option("--dry")] = False


def saw(*, name: str, cut: Cut, seed: int = 0) -> None:
    """Print the arguments."""
    print(name, cut, seed)


def test_a_dataclass_stands_for_its_fields() -> None:
    app = typer.Typer()
    app.command()(with_flags(saw))
    said = CliRunner().invoke(app, ["oak", "--depth", "4", "--seed", "7"])
    assert said.output == "oak Cut(depth=4, is_dry=False) 7\n"
    assert list(inspect.signature(with_flags(saw)).parameters) == [
        *("name", "depth", "is_dry", "seed"),
    ]
