"""The verbs: their functions and lines of help, and the options that a dataclass stands for."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from pkgutil import resolve_name
from typing import Annotated, get_args

import pytest
import typer
from typer.testing import CliRunner

from antifragile.cli.lazy import load_verb, summary_of, with_flags
from antifragile.cli.verbs import GROUPS, VERBS
from antifragile.config.specs.training import TrainingOptions

ALL = VERBS | {
    f"{group} {name}": verb for group, (_, verbs) in GROUPS.items() for name, verb in verbs.items()
}


@pytest.mark.parametrize(("name", "function"), ALL.items(), ids=list(ALL))
def test_the_line_of_help_is_the_start_of_the_docstring(name: str, function: str) -> None:
    text = inspect.getdoc(resolve_name(function))
    assert text is not None
    assert " ".join(text.split("\n\n")[0].split()) == summary_of(function) != ""
    assert load_verb(name.split()[-1], function).name == name.split()[-1]


@pytest.mark.parametrize(("verb", "function"), ALL.items(), ids=list(ALL))
def test_every_number_has_bounds(verb: str, function: str) -> None:
    of_specs = {"trial", "trials", "meta_loops", "seed"} | {f.name for f in fields(TrainingOptions)}
    checked_by_config = of_specs if verb in ("train", "study extend") else set()
    parameters = inspect.signature(with_flags(resolve_name(function))).parameters
    without = [
        name
        for name, parameter in parameters.items()
        if is_number(parameter.annotation) and name not in checked_by_config
        for option in get_args(parameter.annotation)[1:]
        if option.min is None or option.max is None
    ]
    assert without == []


def is_number(annotation: object) -> bool:
    base = next(iter(get_args(annotation)), annotation)
    return bool({int, float} & {base, *get_args(base)})


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
