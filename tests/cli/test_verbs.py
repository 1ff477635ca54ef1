"""The table of verbs: every entry is a function, under the first paragraph of its docstring."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

from antifragile.cli.lazy import Verb
from antifragile.cli.verbs import GROUPS, VERBS

ALL = VERBS | {
    f"{group} {name}": verb for group, (_, verbs) in GROUPS.items() for name, verb in verbs.items()
}


@pytest.mark.parametrize(("name", "verb"), ALL.items(), ids=list(ALL))
def test_the_line_of_help_is_the_start_of_the_docstring(name: str, verb: Verb) -> None:
    module, function = verb.function.split(":")
    text = inspect.getdoc(getattr(import_module(module), function))
    assert text is not None
    assert " ".join(text.split("\n\n")[0].split()) == verb.help
    assert verb.load(name.split()[-1]).name == name.split()[-1]
