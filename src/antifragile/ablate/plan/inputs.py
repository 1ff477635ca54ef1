"""Edits of inputs: lines at the top of the model's forward."""

from __future__ import annotations

from collections.abc import Mapping

from antifragile.ablate.discover.inputs import given_inputs, method_of
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.names import library_names, with_helper
from antifragile.ablate.records import AblationKind, NoLegalEdit, Planned
from antifragile.ablate.source.edits import first_statement, insert_before


def plan_input(attempt: Attempt) -> Planned:
    """Change an input, or a part of it, in the first line of the model's forward."""
    evidence, target, kind = attempt.evidence, attempt.target, attempt.kind
    name = target.options["input"]
    source, node = evidence.classes[target.options["class"]]
    function = method_of(node, "forward")
    assert function is not None
    value = given_inputs(evidence)[name]
    assert value is not None
    if kind is not AblationKind.ZERO and value.shape[0] < 2:
        raise NoLegalEdit("the inputs hold one sample; mixing samples needs two")
    if kind is AblationKind.MEAN and not value.is_floating:
        raise NoLegalEdit("the mean of whole numbers is none")
    is_whole = "axis" not in target.options
    if kind is AblationKind.ZERO and is_whole and len(evidence.trace.inputs) < 2:
        raise NoLegalEdit("it is the only input: the output would no longer depend on any")
    lines = ablated_lines(name, kind, library_names(evidence, source)["torch"], target.options)
    edit = insert_before(source, first_statement(function), lines)
    return Planned(edits=with_helper(evidence, source, node, edit))


def ablated_lines(name: str, kind: AblationKind, torch: str, options: Mapping[str, str]) -> str:
    """Return the lines that ablate an input, or some features of it."""
    copy = ""
    part, zero, fitted = name, f"{torch}.zeros_like({name})", f".expand_as({name}).clone()"
    if "axis" in options:
        axis, first, last = (int(options[key]) for key in ("axis", "first", "last"))
        index = str(first) if last == first + 1 else f"{first}:{last}"
        part, zero, fitted = f"{name}[{':, ' * axis}{index}]", "0", ""
        copy = f"{name} = {name}.clone()\n"
    value = {
        AblationKind.ZERO: zero,
        AblationKind.MEAN: f"{part}.mean(dim=0, keepdim=True){fitted}",
        AblationKind.SHUFFLE: f"{part}.roll(1, 0)",
    }[kind]
    return f"{copy}{part} = {value}"
