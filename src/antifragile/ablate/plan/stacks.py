"""Edits of stacks of layers: one layer replaced behind its construction, or the stack shortened.

Both are a line behind the statement of `__init__` after which the stack is complete.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

from antifragile.ablate.discover.evidence import Evidence, dotted, index_path
from antifragile.ablate.plan.catalogue import Template
from antifragile.ablate.plan.modules import filled_template, with_effects
from antifragile.ablate.plan.names import with_helper
from antifragile.ablate.plan.operands import shape_pairs, shape_relations
from antifragile.ablate.records import AblationKind, NoLegalEdit, Planned, Target
from antifragile.ablate.source.edits import insert_after
from antifragile.ablate.source.syntax import SourceFile


def plan_layer(
    evidence: Evidence, target: Target, kind: AblationKind, templates: Sequence[Template]
) -> Planned:
    """Edit one layer of a stack: a line behind the statement that builds the stack."""
    assert target.path is not None
    source, statement = building_statement(evidence, target, target.path)
    attribute = f"self.{index_path(target.path)}"
    filled = filled_template(evidence, target, kind, templates, attribute)
    line = filled.text if filled.template.keep else f"{attribute} = {filled.text}"
    edit = insert_after(source, statement, guarded(evidence, target, line))
    edits = with_helper(evidence, source, statement, edit, filled.helper)
    return with_effects(evidence, target, kind, filled.template, edits)


def guarded(evidence: Evidence, target: Target, line: str) -> str:
    """Put a line under an `if` where some objects of the owner's class lack the layer."""
    assert target.path is not None
    owners = [
        module
        for module in evidence.trace.modules
        if module.type.rpartition(".")[2] == target.owner and (module.names or module.ran)
    ]
    if len(owners) <= len(target.modules):
        return line
    container, _, index = index_path(target.path).partition("[")
    question = f'hasattr(self, "{container}")'
    if index and "." not in container:
        question = f"len(self.{container}) > {index.partition(']')[0]}"
    return f"if {question}:\n    {line}"


def plan_shrink(evidence: Evidence, target: Target) -> Planned:
    """Keep the first half of each stack: `self.blocks = self.blocks[:6]`."""
    stacks = stacks_of(evidence, target)
    if target.path is not None or not stacks:
        raise NoLegalEdit("it is not one stack of layers in a list or nn.Sequential")
    lines, dropped = [], set[int]()
    for (owner, container), members in stacks.items():
        keep = len(members) - len(members) // 2
        gone = [number for _, number in sorted(members.items())[keep:]]
        check_droppable(evidence, gone)
        dropped.update(gone)
        name = f"self.{index_path(container)}"
        lines.append((owner, container, f"{name} = {name}[:{keep}]"))
    edits = []
    for owner, container, line in lines:
        place = replace(target, owner=owner, path=container)
        check_iterated(evidence, owner, container)
        edits.append(insert_after(*building_statement(evidence, place, container), line))
    numbers = sorted(dropped)
    return Planned(
        edits=tuple(edits),
        substitute="the first half of the layers",
        parameter_delta=evidence.delta(numbers),
        cut_parameters=evidence.vanishing(numbers),
    )


def stacks_of(evidence: Evidence, target: Target) -> dict[tuple[str, str], dict[int, int]]:
    """Return the stacks of a target: (owner, path of the stack) -> index -> module to drop."""
    assert target.site is not None
    node = evidence.source(target.site).class_of(evidence.node(target.site))
    rows = []
    for number in target.modules:
        owner = evidence.owner_of(evidence.module(number), node.name if node else None)
        if owner is None:
            return {}
        rows.append((owner[0], owner[1], dotted(owner[2]).split(".")))
    lengths = {len(parts) for _, _, parts in rows}
    if len(lengths) != 1 or len({name for _, name, _ in rows}) != 1:
        return {}
    varying = [
        place
        for place in range(lengths.pop())
        if len({parts[place] for _, _, parts in rows}) > 1
        and all(parts[place].isdigit() for _, _, parts in rows)
    ]
    if not varying:
        return {}
    place, found = varying[-1], dict[tuple[str, str], dict[int, int]]()
    for owner_class, owner_name, parts in rows:
        name = ".".join(filter(None, [owner_name, *parts[: place + 1]]))
        stack = found.setdefault((owner_class, ".".join(parts[:place])), {})
        stack[int(parts[place])] = evidence.by_name[name]
    return {key: members for key, members in found.items() if len(members) > 1}


def check_droppable(evidence: Evidence, numbers: Sequence[int]) -> None:
    """Refuse to drop layers behind which the shape differs."""
    for number in numbers:
        module = evidence.module(number)
        if module.ran and "same" not in shape_relations(shape_pairs([module], "0")):
            raise NoLegalEdit("its last layers change the shape: the stack cannot be shortened")


def check_iterated(evidence: Evidence, owner: str, container: str) -> None:
    """Refuse stacks that are reached by a running index: it would run off the end."""
    node = evidence.classes[owner][1]
    name = f"self.{index_path(container)}"
    for item in ast.walk(node):
        by_index = isinstance(item, ast.Subscript) and isinstance(item.slice, ast.Name | ast.BinOp)
        if by_index and ast.unparse(item).startswith(f"{name}["):
            raise NoLegalEdit("its layers are reached by index: the stack cannot be shortened")


def building_statement(
    evidence: Evidence, target: Target, path: str
) -> tuple[SourceFile, ast.stmt]:
    """Find the statement of the owner's __init__ behind which a stack is complete."""
    assert target.owner is not None
    source, owner = evidence.classes[target.owner]
    init = next(
        (n for n in owner.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None
    )
    if init is None:
        raise NoLegalEdit(
            f"{target.owner} has no __init__ behind which the layer could be replaced"
        )
    module = evidence.module(target.modules[0])
    sites = [*module.built_under, *module.built_at]
    nodes = [evidence.node(site) for site in sites if site[0] == source.file]
    inside = [node for node in nodes if source.function_of(node) is init]
    first = path.split(".")[0].split("[")[0]
    inside += [node for node in ast.walk(init) if binds(node, first)]
    if not inside:
        raise NoLegalEdit(f"__init__ of {target.owner} does not build it")
    statements = [source.outer_statement_of(node, init) for node in inside]
    return source, max(statements, key=lambda statement: statement.lineno)


def binds(node: ast.AST, name: str) -> bool:
    """Whether a node assigns to an attribute of self, or adds a module to it."""
    if isinstance(node, ast.Attribute):
        return isinstance(node.ctx, ast.Store) and ast.unparse(node) == f"self.{name}"
    is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return is_method and ast.unparse(node).startswith(("self.add_module", "self.register_module"))
