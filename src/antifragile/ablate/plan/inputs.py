"""Edits of inputs: lines at the top of the model's forward."""

from __future__ import annotations

from antifragile.ablate.discover.evidence import Evidence
from antifragile.ablate.discover.inputs import forward_of
from antifragile.ablate.plan.names import library_names, with_helper
from antifragile.ablate.records import AblationKind, NoLegalEdit, Planned, Target
from antifragile.ablate.source.edits import (
    first_statement,
    insert_before,
)


def plan_input(evidence: Evidence, target: Target, kind: AblationKind) -> Planned:
    """Change an input, or a part of it, in the first line of the model's forward."""
    name = target.options["input"]
    source, node = evidence.classes[target.options["class"]]
    function = forward_of(node)
    assert function is not None
    place = [item.arg for item in function.args.posonlyargs + function.args.args].index(name) - 1
    value = evidence.trace.inputs[place]
    assert value is not None
    if kind is not AblationKind.ZERO and value.shape[0] < 2:
        raise NoLegalEdit("the inputs hold one sample; mixing samples needs two")
    if kind is AblationKind.MEAN and not value.is_floating:
        raise NoLegalEdit("the mean of whole numbers is none")
    is_whole = "axis" not in target.options
    if kind is AblationKind.ZERO and is_whole and len(evidence.trace.inputs) < 2:
        raise NoLegalEdit("it is the only input: the output would no longer depend on any")
    torch = library_names(evidence, source)["torch"]
    lines = whole_lines(name, kind, torch) if is_whole else part_lines(name, kind, target)
    edit = insert_before(source, first_statement(function), lines)
    return Planned(edits=with_helper(evidence, source, node, edit))


def whole_lines(name: str, kind: AblationKind, torch: str) -> str:
    """Return the line that ablates an input."""
    return {
        AblationKind.ZERO: f"{name} = {torch}.zeros_like({name})",
        AblationKind.MEAN: f"{name} = {name}.mean(dim=0, keepdim=True).expand_as({name}).clone()",
        AblationKind.SHUFFLE: f"{name} = {name}.roll(1, 0)",
    }[kind]


def part_lines(name: str, kind: AblationKind, target: Target) -> str:
    """Return the lines that ablate some features of an input."""
    axis, first, last = (int(target.options[key]) for key in ("axis", "first", "last"))
    index = str(first) if last == first + 1 else f"{first}:{last}"
    part = f"{name}[{':, ' * axis}{index}]"
    value = {
        AblationKind.ZERO: "0",
        AblationKind.MEAN: f"{part}.mean(dim=0, keepdim=True)",
        AblationKind.SHUFFLE: f"{part}.roll(1, 0)",
    }[kind]
    return f"{name} = {name}.clone()\n{part} = {value}"
