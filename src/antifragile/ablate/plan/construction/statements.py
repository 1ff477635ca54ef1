"""Edits of the construction: initialisation by hand and tied weights removed, options off.

What the first two decide are initial values. So the parameters concerned keep the variant's own
initial values where all others start from the baseline's: else the pairing would undo the ablation.
"""

from __future__ import annotations

import ast

from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.records import Edit, NoLegalEdit, Planned
from antifragile.ablate.source.edits import remove_statement
from antifragile.ablate.source.syntax import SourceFile


def plan_initialisation(attempt: Attempt) -> Planned:
    """Remove a call that fills parameters; the values that they are built with stay."""
    assert attempt.target.site is not None
    found = attempt.evidence.trace.initialisations[attempt.target.site]
    source, node = attempt.site.source, attempt.site.node
    return Planned(
        edits=(remove_statement(source, statement_of(source, node)),),
        substitute="the initial values of before",
        own_values=tuple(dict.fromkeys(found.told)),
    )


def plan_untied(attempt: Attempt) -> Planned:
    """Remove the assignment that ties a weight; each side keeps a parameter of its own."""
    options, sizes = attempt.target.options, attempt.evidence.trace.parameters
    source, node = attempt.site.source, attempt.site.node
    names = tuple(options["names"].split(","))
    size = next((sizes[name] for name in (options["tied"], *names) if name in sizes), None)
    if size is None:
        raise NoLegalEdit("the tied parameter is not among the model's")
    owners = {attempt.evidence.by_name.get(name.rpartition(".")[0]) for name in names}
    return Planned(
        edits=(remove_statement(source, statement_of(source, node)),),
        substitute="a parameter of its own on each side",
        parameter_delta=size * len(owners),
        own_values=names,
    )


def plan_flag(attempt: Attempt) -> Planned:
    """Switch an option off; what it builds and what it does only a run can tell."""
    options = attempt.target.options
    edit = Edit(
        file=options["file"],
        start=int(options["start"]),
        end=int(options["end"]),
        text=options["new"],
    )
    return Planned(edits=(edit,), parameter_delta=None)


def statement_of(source: SourceFile, node: ast.AST) -> ast.stmt:
    """Return the statement that an expression is all of, or the right side of."""
    statement = source.parents[node]
    assert isinstance(statement, ast.stmt)
    return statement
