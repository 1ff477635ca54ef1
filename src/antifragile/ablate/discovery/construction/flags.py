"""Options of the user's classes that are switched on: arguments, defaults and fields set to True.

    Net(use_gate=True)                     in a call
    def __init__(self, use_gate=True)      as a default that some call leaves as it is
    use_gate: bool = True                  in a data class

Dropout rates above zero count as switched on.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from antifragile.ablate.discovery.evidence import Evidence
from antifragile.ablate.discovery.inputs import method_of
from antifragile.ablate.records import AblationKind, Component, ComponentKind, Target
from antifragile.ablate.source.syntax import SourceFile

_RATES = re.compile(r"(.*_)?(dropout|drop|drop_path|drop_rate|stochastic_depth)(_.*)?|p_drop|pdrop")
_FORMS = re.compile(
    r"inplace|batch_first|return_.*|output_.*|pretrained|debug|verbose|training|.*grad"
)


def flag_targets(evidence: Evidence) -> Iterator[Target]:
    """Yield the options that are on, in the order of the source."""
    for source in evidence.sources.values():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call):
                yield from call_flags(evidence, source, node)
            elif isinstance(node, ast.ClassDef):
                yield from class_flags(evidence, source, node)


def call_flags(evidence: Evidence, source: SourceFile, call: ast.Call) -> Iterator[Target]:
    """Yield `Net(use_gate=True)` where the call ran."""
    name, run = ast.unparse(call.func), evidence.run_of(source, call)
    if name not in evidence.classes or run is None or not run.other_calls:
        return
    where = source.qualified_name(call) or source.file
    for item in call.keywords:
        if item.arg is not None and is_on(item.arg, item.value) and is_read(evidence, item.arg):
            yield flag_target(source, f"{where}:{name}", item.arg, item.value)


def class_flags(evidence: Evidence, source: SourceFile, node: ast.ClassDef) -> Iterator[Target]:
    """Yield defaults and fields that some call which ran leaves as they are."""
    init = method_of(node, "__init__")
    for name, value, place in defaults_of(init) if init else fields_of(node):
        is_left = any(
            leaves_default(call, name, place) for call in constructions(evidence, node.name)
        )
        if is_on(name, value) and is_left and is_read(evidence, name):
            yield flag_target(source, node.name, name, value)


def is_on(name: str, value: ast.expr) -> bool:
    """Whether an option is True, or a dropout rate above zero."""
    if not isinstance(value, ast.Constant) or _FORMS.fullmatch(name):
        return False
    is_rate = isinstance(value.value, float) and value.value > 0
    return value.value is True or (is_rate and _RATES.fullmatch(name) is not None)


def is_read(evidence: Evidence, name: str) -> bool:
    """Whether some code of the sources reads an option by its name."""
    return any(
        isinstance(getattr(node, "ctx", None), ast.Load)
        and name in (getattr(node, "id", None), getattr(node, "attr", None))
        for source in evidence.sources.values()
        for node in ast.walk(source.tree)
    )


def defaults_of(function: ast.FunctionDef) -> Iterator[tuple[str, ast.expr, int | None]]:
    """Yield arguments that have a default: name, default, position in a call."""
    given = [*function.args.posonlyargs, *function.args.args][1:]  # without self
    first = len(given) - len(function.args.defaults)
    for place, value in enumerate(function.args.defaults, start=first):
        yield given[place].arg, value, place
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if default is not None:
            yield argument.arg, default, None


def fields_of(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr, int | None]]:
    """Yield the fields of a data class that have a default."""
    if not any("dataclass" in ast.unparse(item) for item in node.decorator_list):
        return
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
    for place, item in enumerate(fields):
        if item.value is not None and isinstance(item.target, ast.Name):
            yield item.target.id, item.value, place


def constructions(evidence: Evidence, class_name: str) -> Iterator[ast.Call]:
    """Yield the calls of a class that ran while the model was built."""
    for (file, number), run in evidence.trace.sites.items():
        node = evidence.sources[file].sites[number]
        if isinstance(node, ast.Call) and run.other_calls and ast.unparse(node.func) == class_name:
            yield node


def leaves_default(call: ast.Call, name: str, place: int | None) -> bool:
    """Whether a call does not give an argument."""
    is_open = any(isinstance(item, ast.Starred) for item in call.args)
    names = [item.arg for item in call.keywords]
    is_positional = place is not None and len(call.args) > place
    return not (is_open or is_positional or name in names or None in names)


def flag_target(source: SourceFile, owner: str, name: str, value: ast.expr) -> Target:
    """Make the target of one option."""
    text = source.source(value)
    start, end = source.place(value)
    component = Component(
        name=f"{owner} {name}={text}",
        kind=ComponentKind.FLAG,
        span=source.span(value),
        ran=True,
        calls=1,
        kinds=(AblationKind.DISABLE,),
    )
    new = "False" if text == "True" else "0.0"
    options = {"file": source.file, "start": str(start), "end": str(end), "new": new}
    return Target(component=component, options=options)
