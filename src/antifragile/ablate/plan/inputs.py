"""Edits of inputs, raw parameters and marked lines."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from antifragile.ablate.discover.evidence import Joined
from antifragile.ablate.discover.inputs import forward_of, marked_node
from antifragile.ablate.plan.record import Plan, spaces, with_import
from antifragile.ablate.records import AblationKind
from antifragile.ablate.source.edits import (
    Edit,
    first_statement,
    insert_before,
    insert_helper,
    operand_text,
    remove_statement,
)
from antifragile.ablate.source.edits import replace as replace_node
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.target import Refused, Target

_FACTS = ("shape", "dtype", "device", "ndim", "requires_grad", "is_cuda")


def plan_input(joined: Joined, target: Target, kind: AblationKind) -> Plan:
    """Change an input, or a part of it, in the first line of the model's forward."""
    name = target.options["input"]
    source, node = joined.classes[target.options["class"]]
    function = forward_of(node)
    assert function is not None
    place = [item.arg for item in function.args.posonlyargs + function.args.args].index(name) - 1
    value = joined.trace.inputs[place]
    assert value is not None
    if kind is not AblationKind.ZERO and value.shape[0] < 2:
        raise Refused("the inputs hold one sample; mixing samples needs two")
    if kind is AblationKind.MEAN and not value.is_floating:
        raise Refused("the mean of whole numbers is none")
    is_whole = "axis" not in target.options
    if kind is AblationKind.ZERO and is_whole and len(joined.trace.inputs) < 2:
        raise Refused("it is the only input: the output would no longer depend on any")
    torch = spaces(joined, source)["torch"]
    lines = whole_lines(name, kind, torch) if is_whole else part_lines(name, kind, target)
    edits = [insert_before(source, first_statement(function), lines)]
    helper = with_import(joined, source, "", lines)
    if helper:
        edits.append(insert_helper(source, node, helper))
    return Plan(edits=tuple(edits))


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


def plan_parameter(joined: Joined, target: Target, kind: AblationKind) -> Plan:
    """Replace every read of a raw parameter, or freeze it where it is made."""
    if kind is AblationKind.REINIT_FROZEN:
        return freeze_parameter(joined, target)
    if kind is AblationKind.MEAN and target.component.parameters == 1:
        raise Refused("a single number: its mean is itself")
    edits: list[Edit] = []
    for key in target.sites:
        source, node = joined.source(key), joined.node(key)
        parent = source.parents[node]
        if isinstance(parent, ast.Attribute) and parent.attr in _FACTS:
            continue
        torch, text = spaces(joined, source)["torch"], source.source(node)
        new = {
            AblationKind.ZERO: f"{torch}.zeros_like({text})",
            AblationKind.CONSTANT: f"{torch}.ones_like({text})",
            AblationKind.MEAN: f"{text}.mean().expand_as({text})",
        }[kind]
        edits.append(replace_node(source, node, new))
        if not edits[1:] and (helper := with_import(joined, source, "", new)):
            edits.insert(0, insert_helper(source, node, helper))
    if not edits:
        raise Refused("only its shape is read")
    runs = [joined.trace.sites[key] for key in target.sites]
    lost = () if kind is AblationKind.MEAN else joined.lost_leaves(runs)
    words = {AblationKind.CONSTANT: "ones", AblationKind.MEAN: "one number, its mean"}.get(kind)
    return Plan(edits=tuple(edits), substitute=words, cut_parameters=lost)


def freeze_parameter(joined: Joined, target: Target) -> Plan:
    """Keep a parameter at its initial values."""
    names = {name for key in target.sites for name in joined.trace.sites[key].parameters}
    for key, made in joined.trace.parameter_sites.items():
        if names & set(made):
            source, node = joined.source(key), joined.node(key)
            text = f"{operand_text(source, node)}.requires_grad_(False)"
            return Plan(edits=(replace_node(source, node, text),), cut_parameters=made)
    raise Refused("the expression that makes it is not in the source files")


def plan_marked(joined: Joined, target: Target) -> Plan:
    """Take the marked lines out."""
    edits: list[Edit] = []
    for place in target.options["lines"].split(","):
        file, _, line = place.rpartition(":")
        source = joined.sources[file]
        node = marked_node(source, int(line))
        if node is None:
            raise Refused("the mark stands at no statement")
        edits.append(removal(source, node, int(line)))
    return Plan(edits=tuple(dict.fromkeys(edits)))


def removal(source: SourceFile, node: ast.AST, line: int) -> Edit:
    """Remove a statement, a summand, or an item of a list."""
    parent = source.parents.get(node)
    if isinstance(node, ast.stmt):
        if any(name_is_needed(source, node)):
            raise Refused("later lines use what the marked line makes: mark the use instead")
        return remove_statement(source, node)
    text = source.text[source.line_start(line) : source.line_start(line + 1)].strip()
    starts_with_sign = text[:1] in "+-" and isinstance(parent, ast.BinOp) and parent.right is node
    if starts_with_sign or not isinstance(parent, ast.BinOp):
        start, end = source.line_start(line), source.line_start(line + 1)
        return Edit(file=source.file, start=start, end=end, text="")
    kept = parent.left if parent.right is node else parent.right
    return replace_node(source, parent, operand_text(source, kept, inside=parent))


def name_is_needed(source: SourceFile, statement: ast.stmt) -> Iterator[bool]:
    """Yield True for each name that only this statement binds and later code of its block reads."""
    if not isinstance(statement, ast.Assign):
        return
    scope = source.function_of(statement) or source.tree
    for target in statement.targets:
        if not isinstance(target, ast.Name):
            continue
        nodes = [n for n in ast.walk(scope) if isinstance(n, ast.Name) and n.id == target.id]
        arguments = [n.arg for n in ast.walk(scope) if isinstance(n, ast.arg)]
        others = [n for n in nodes if isinstance(n.ctx, ast.Store) and n.lineno < statement.lineno]
        reads = [n for n in nodes if isinstance(n.ctx, ast.Load) and n.lineno > statement.lineno]
        yield bool(reads) and not others and target.id not in arguments
