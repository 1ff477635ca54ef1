"""Inputs of the model, their features and named groups of these, as components; never labels."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from antifragile.ablate.discovery.evidence import Evidence
from antifragile.ablate.records import (
    INPUT_PREFIX,
    AblationKind,
    Component,
    ComponentKind,
    Span,
    Target,
)
from antifragile.ablate.trace.records import Value

_MAX_FEATURES = 32
_MAX_CHANNELS = 16
_INPUT_KINDS = (AblationKind.ZERO, AblationKind.MEAN, AblationKind.SHUFFLE)
_LABELS = re.compile(r"labels?|targets?|y_true|(.+_)(labels?|targets?)")
_LOSS = re.compile(r"loss|criterion|cross_entropy|objective|\b(bce|mse|nll|ctc)\b", re.IGNORECASE)
_EMBEDDING = re.compile(r"emb", re.IGNORECASE)


def input_targets(evidence: Evidence, groups: Mapping[str, str] | None = None) -> Iterator[Target]:
    """Yield each input of the model, its features or channels, and named groups of them.

    Labels, which only a loss reads, are no components.

    Args:
        evidence: Source and execution.
        groups: Name -> "input[first:last]", counted along the feature axis.
    """
    found = evidence.classes.get(evidence.module(0).type.rpartition(".")[2])
    arguments = arguments_of(found[1]) if found else []
    for title, value in given_inputs(evidence).items():
        if value is None:
            continue
        argument = next((item for item in arguments if item.arg == title), None)
        if found is None or argument is None:
            file = evidence.project.entries.get("inputs", evidence.project.build).file
            span = Span(file=file, start_line=1, start_column=0, end_line=1, end_column=0)
            reason = "it lies inside another input"
            if "[" not in title:
                reason = "no forward in the source files takes it by name"
            yield Target(component=input_component(f"input {title}", value, span, reason))
            continue
        name, span = title, found[0].span(argument)
        if is_label(found[1], name, value):
            continue
        options = {"input": name, "class": found[1].name}
        yield Target(
            component=input_component(f"{INPUT_PREFIX}{name}", value, span), options=options
        )
        axis, count = feature_axis(value)
        parts = [(f"{name}[{item}]", str(item), str(item + 1)) for item in range(count)]
        for group, text in (groups or {}).items():
            base, _, inside = text.rstrip("]").partition("[")
            first, _, last = inside.partition(":")
            if base == name and first.isdigit() and last.isdigit():
                parts.append((group, first, last))
        for part_name, first, last in parts:
            component = input_component(f"{INPUT_PREFIX}{part_name}", value, span)
            part = {"axis": str(axis), "first": first, "last": last}
            yield Target(component=component, options=options | part)


def given_inputs(evidence: Evidence) -> dict[str, Value | None]:
    """Return the inputs by the names that the model's forward gives them, as far as it does."""
    found = evidence.classes.get(evidence.module(0).type.rpartition(".")[2])
    names = [argument.arg for argument in arguments_of(found[1])] if found else []
    titles = []
    for name in evidence.trace.input_names:
        place, bracket, inside = name.partition("[")
        is_known = place.isdigit() and int(place) < len(names)
        titles.append((names[int(place)] if is_known else place) + bracket + inside)
    return dict(zip(titles, evidence.trace.inputs, strict=True))


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


def method_of(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    """Return a method of a class."""
    functions = [item for item in node.body if isinstance(item, ast.FunctionDef)]
    return next((item for item in functions if item.name == name), None)


def arguments_of(node: ast.ClassDef) -> list[ast.arg]:
    """Return the named arguments of forward, those by keyword alone last; without self."""
    function = method_of(node, "forward")
    if function is None:
        return []
    given = function.args
    return [*[*given.posonlyargs, *given.args][1:], *given.kwonlyargs]


def feature_axis(value: Value) -> tuple[int, int]:
    """Return the axis of the features and how many are listed: columns of a table, channels."""
    shape = value.shape
    if not value.is_floating or len(shape) < 2:
        return 1, 0
    axis = 2 if len(shape) == 3 and shape[2] <= shape[1] else 1
    if axis in (value.batch_axes or ()):  # samples are no features
        axis = len(shape) - 1 if axis < len(shape) - 1 else 0
    most = _MAX_FEATURES if len(shape) == 2 else _MAX_CHANNELS
    return axis, shape[axis] if 2 <= shape[axis] <= most else 0


def is_label(model: ast.ClassDef, name: str, value: Value) -> bool:
    """Whether a loss is all that an input is for.

    It is when each use of it in ``forward`` ends in the call of a loss. An input of whole numbers
    that is named as labels are is one too, unless an embedding is asked for it.

    Args:
        model: The model's class.
        name: The argument of its ``forward``.
        value: The input that was given.
    """
    function = next(
        item for item in model.body if isinstance(item, ast.FunctionDef) and item.name == "forward"
    )
    calls = list(calls_given(function, name))
    if calls and all(_LOSS.search(callee) for callee in calls):
        return True
    is_named = _LABELS.fullmatch(name) is not None and not value.is_floating
    return is_named and not any(_EMBEDDING.search(callee) for callee in calls)


def calls_given(function: ast.FunctionDef, name: str) -> Iterator[str]:
    """Yield what reads a name or a copy of it: the callee of the call, "" for other code."""
    parents = {child: node for node in ast.walk(function) for child in ast.iter_child_nodes(node)}
    names, seen = [name], set[str]()
    while names:
        known = names.pop()
        seen.add(known)
        for node in ast.walk(function):
            if not isinstance(node, ast.Name) or node.id != known:
                continue
            if not isinstance(node.ctx, ast.Load):
                continue
            use = use_of(parents, node)
            if isinstance(use, ast.Call):
                yield ast.unparse(use.func)
            elif isinstance(use, ast.Assign):
                copies = [item.id for item in use.targets if isinstance(item, ast.Name)]
                names += [copy for copy in copies if copy not in seen]
                if len(copies) < len(use.targets):
                    yield ""
            elif not isinstance(use, ast.Compare):
                yield ""


def use_of(parents: dict[ast.AST, ast.AST], node: ast.AST) -> ast.AST:
    """Climb from a name over its slices and views to the call or statement that uses it."""
    while True:
        above = parents[node]
        is_view = isinstance(above, ast.Subscript | ast.Attribute) and above.value is node
        is_method = isinstance(above, ast.Call) and above.func is node
        if not (is_view or is_method):
            return above
        node = above
