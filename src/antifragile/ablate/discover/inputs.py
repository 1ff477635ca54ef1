"""Inputs of the model, their features and named groups of these, as components."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from antifragile.ablate.discover.evidence import Evidence
from antifragile.ablate.records import AblationKind, Component, ComponentKind, Span, Target
from antifragile.ablate.trace.records import Value

_MAX_FEATURES = 32
_MAX_CHANNELS = 16
_INPUT_KINDS = (AblationKind.ZERO, AblationKind.MEAN, AblationKind.SHUFFLE)


def input_targets(evidence: Evidence, groups: Mapping[str, str] | None = None) -> Iterator[Target]:
    """Yield each input of the model, its features or channels, and named groups of them.

    Args:
        evidence: Source and execution.
        groups: Name -> "input[first:last]", counted along the feature axis.
    """
    root = evidence.module(0)
    found = evidence.classes.get(root.type.rpartition(".")[2])
    function = forward_of(found[1]) if found else None
    for place, value in enumerate(evidence.trace.inputs):
        if value is None:
            continue
        name = argument_name(function, place)
        if found is None or function is None or name is None:
            span = Span(
                file=evidence.project.inputs.file,
                start_line=1,
                start_column=0,
                end_line=1,
                end_column=0,
            )
            reason = "no forward in the source files takes it by name"
            yield Target(component=input_component(f"input {place}", value, span, reason))
            continue
        span = found[0].span(argument_node(function, place))
        options = {"input": name, "class": found[1].name}
        yield Target(component=input_component(f"input:{name}", value, span), options=options)
        axis, count = feature_axis(value)
        for feature in range(count):
            component = input_component(f"input:{name}[{feature}]", value, span)
            part = {"axis": str(axis), "first": str(feature), "last": str(feature + 1)}
            yield Target(component=component, options=options | part)
        for title, text in (groups or {}).items():
            base, _, inside = text.rstrip("]").partition("[")
            first, _, last = inside.partition(":")
            if base == name and first.isdigit() and last.isdigit():
                component = input_component(f"input:{title}", value, span)
                part = {"axis": str(max(axis, 1)), "first": first, "last": last}
                yield Target(component=component, options=options | part)


def input_component(name: str, value: Value, span: Span, reason: str | None = None) -> Component:
    """Make the component of an input or a part of it."""
    return Component(
        name=name,
        kind=ComponentKind.INPUT,
        span=span,
        ran=True,
        calls=1,
        output_shapes=(value.shape,),
        kinds=() if reason else _INPUT_KINDS,
        reason=reason,
    )


def forward_of(node: ast.ClassDef) -> ast.FunctionDef | None:
    """Return the forward method of a class."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "forward":
            return item
    return None


def argument_node(function: ast.FunctionDef, place: int) -> ast.arg:
    """Return the argument that takes a positional input (self is not counted)."""
    return [*function.args.posonlyargs, *function.args.args][place + 1]


def argument_name(function: ast.FunctionDef | None, place: int) -> str | None:
    """Return the name of a positional input in forward; None when it lands in *args."""
    if function is None:
        return None
    names = [*function.args.posonlyargs, *function.args.args]
    return names[place + 1].arg if place + 1 < len(names) else None


def feature_axis(value: Value) -> tuple[int, int]:
    """Return the axis of the features and how many are listed: columns of a table, channels."""
    shape = value.shape
    if not value.is_floating or len(shape) < 2:
        return 1, 0
    if len(shape) == 2:
        return 1, shape[1] if 2 <= shape[1] <= _MAX_FEATURES else 0
    if len(shape) == 3:
        axis = 2 if shape[2] <= shape[1] else 1
        return axis, shape[axis] if 2 <= shape[axis] <= _MAX_CHANNELS else 0
    return 1, shape[1] if 2 <= shape[1] <= _MAX_CHANNELS else 0
