"""Components beside modules and calls: inputs and their features, raw parameters, marked lines."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from antifragile.ablate.discover.evidence import Joined
from antifragile.ablate.discover.sites import component_at, is_raw_parameter
from antifragile.ablate.records import AblationKind, Component, ComponentKind, Span
from antifragile.ablate.source.syntax import SiteKey, SourceFile
from antifragile.ablate.target import Target
from antifragile.ablate.trace.records import Callee, Value

_MAX_FEATURES = 32
_MAX_CHANNELS = 16
_FACTORS = ("layer_norm", "batch_norm", "group_norm", "rms_norm", "instance_norm")
_WEIGHTS = ("linear", "bilinear", "embedding", "matmul", "bmm", "einsum", "mm")
_INPUT_KINDS = (AblationKind.ZERO, AblationKind.MEAN, AblationKind.SHUFFLE)


def input_targets(joined: Joined, groups: Mapping[str, str] | None = None) -> Iterator[Target]:
    """Yield each input of the model, its features or channels, and named groups of them.

    Args:
        joined: Source and execution.
        groups: Name -> "input[first:last]", counted along the feature axis.
    """
    root = joined.module(0)
    found = joined.classes.get(root.type.rpartition(".")[2])
    function = forward_of(found[1]) if found else None
    for place, value in enumerate(joined.trace.inputs):
        if value is None:
            continue
        name = argument_name(function, place)
        if found is None or function is None or name is None:
            span = Span(
                file=joined.project.inputs.file,
                start_line=1,
                start_column=0,
                end_line=1,
                end_column=0,
            )
            reason = "no forward in the source files takes it by name"
            yield Target(component=input_component(f"input {place}", value, span, reason))
            continue
        span = found[0].span(argument_node(function, place))
        options = {"input": name, "file": found[0].file, "class": found[1].name}
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


def parameter_targets(joined: Joined) -> Iterator[Target]:
    """Yield raw parameters that a forward reads, all uses in one class together."""
    found: dict[tuple[str, str], list[SiteKey]] = {}
    for key, run in joined.ran_sites():
        if run.callee is Callee.ATTRIBUTE and run.outputs[0].parameter is not None:
            source, node = joined.source(key), joined.node(key)
            owner = source.class_of(node)
            text = source.source(node).removeprefix("self.")
            found.setdefault((owner.name if owner else source.file, text), []).append(key)
    for (owner_name, text), keys in found.items():
        run = joined.trace.sites[keys[0]]
        component = component_at(
            joined, keys[0], run, "", ComponentKind.PARAMETER, parameter_kinds(joined, keys[0])
        )
        names = {name for key in keys for name in joined.trace.sites[key].parameters}
        size = sum(joined.trace.parameters[name] for name in names)
        fields = vars(component) | {"name": f"{owner_name}.{text}", "parameters": size}
        yield Target(component=Component(**fields), site=keys[0], sites=tuple(keys))


def parameter_kinds(joined: Joined, key: SiteKey) -> tuple[AblationKind, ...]:
    """Zero for what is added or joined, one for what multiplies, the mean for what is a weight."""
    role = role_of(joined, key)
    first = {
        "factor": (AblationKind.CONSTANT, AblationKind.MEAN),
        "weight": (AblationKind.MEAN,),
        "summand": (AblationKind.ZERO, AblationKind.MEAN),
    }[role]
    return (*first, AblationKind.REINIT_FROZEN)


def role_of(joined: Joined, key: SiteKey) -> str:
    """Return how the nearest arithmetic around a parameter uses it."""
    source, node = joined.source(key), joined.node(key)
    while not isinstance(node, ast.stmt):
        parent = source.parents[node]
        if isinstance(parent, ast.BinOp):
            if isinstance(parent.op, ast.MatMult):
                return "weight"
            return "factor" if isinstance(parent.op, ast.Mult | ast.Div) else "summand"
        if isinstance(parent, ast.Call) and node is not parent.func:
            return role_in_call(joined, source, parent, node)
        node = parent
    return "summand"


def role_in_call(joined: Joined, source: SourceFile, call: ast.Call, argument: ast.AST) -> str:
    """Return how a function uses a parameter that it is given."""
    run = joined.run_of(source, call)
    name = run.name if run else ""
    is_bias = "bias" in source.source(argument)
    if name in _FACTORS or name in ("mul", "addcmul"):
        return "summand" if is_bias else "factor"
    if name in _WEIGHTS or name.startswith("conv"):
        return "summand" if is_bias else "weight"
    return "summand"


def marked_targets(joined: Joined) -> Iterator[Target]:
    """Yield the lines marked `# ablate: name`; marks of one name are one component."""
    found: dict[str, list[tuple[SourceFile, int]]] = {}
    for source in joined.sources.values():
        for name, line in source.marks:
            found.setdefault(name or f"line {line}", []).append((source, line))
    for name, places in found.items():
        source, line = places[0]
        node = marked_node(source, line)
        ran = any(has_run(joined, place, marked_node(place, at)) for place, at in places)
        component = Component(
            name=f"mark:{name}",
            kind=ComponentKind.MARKED,
            span=source.span(node or source.tree.body[0]),
            ran=ran,
            calls=int(ran),
            kinds=(AblationKind.DISABLE,) if node else (),
            reason=None if node else "the mark stands at no statement",
        )
        lines = ",".join(f"{place.file}:{at}" for place, at in places)
        yield Target(component=component, options={"lines": lines})


def marked_node(source: SourceFile, line: int) -> ast.AST | None:
    """Return what a mark stands for: a term or item on its line, the statement, or the next."""
    statements = [node for node in ast.walk(source.tree) if isinstance(node, ast.stmt)]
    around = [s for s in statements if s.lineno <= line <= (s.end_lineno or s.lineno)]
    behind = source.text.splitlines()[line - 1].strip()
    if behind.startswith("#"):
        below = [item for item in statements if item.lineno > line]
        return min(below, key=lambda item: (item.lineno, -(item.end_lineno or 0)), default=None)
    statement = max(around, key=lambda item: item.lineno, default=None)
    if statement is None:
        return None
    if not isinstance(statement, ast.If | ast.For | ast.While | ast.With | ast.FunctionDef):
        return marked_part(statement, line) or statement
    return statement


def marked_part(statement: ast.stmt, line: int) -> ast.AST | None:
    """Return the summand or list item that lies on one line of a longer statement."""
    if statement.lineno == statement.end_lineno:
        return None
    for node in ast.walk(statement):
        parts: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            parts = [node.right]
        elif isinstance(node, ast.List | ast.Tuple):
            parts = node.elts
        for part in parts:
            if part.lineno == line == part.end_lineno:
                return part
    return None


def has_run(joined: Joined, source: SourceFile, node: ast.AST | None) -> bool:
    """Whether a marked place ran; a place without a site counts as run when its function did."""
    while node is not None and node is not source.tree:
        runs = [joined.run_of(source, item) for item in ast.walk(node)]
        known = [source.number(item) is not None for item in ast.walk(node)]
        if any(known):
            return any(run is not None and (run.ran or run.other_calls) for run in runs)
        node = source.parents[node]
    return False


__all__ = ["input_targets", "is_raw_parameter", "marked_targets", "parameter_targets"]
