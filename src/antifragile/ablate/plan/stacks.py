"""Edits of stacks of layers: one layer replaced behind its construction, or the stack shortened.

Both are a line behind the statement of `__init__` after which the stack is complete.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from antifragile.ablate.discovery.evidence import Evidence, dotted, index_path
from antifragile.ablate.discovery.inputs import method_of
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.calls.hooks import check_no_early_hooks
from antifragile.ablate.plan.modules import (
    check_alone_in_memory,
    filled_template,
    with_effects,
)
from antifragile.ablate.plan.names import with_helper
from antifragile.ablate.plan.operands import shape_pairs, shape_relations
from antifragile.ablate.records import NoLegalEdit, Planned, Target
from antifragile.ablate.source.edits import insert_after
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.records import ModuleRun


def plan_layer(attempt: Attempt) -> Planned:
    """Edit one layer of a stack: a line behind the statement that builds the stack."""
    evidence, target = attempt.evidence, attempt.target
    assert target.path is not None
    assert target.owner is not None
    source, statement = building_statement(evidence, target, target.owner, target.path)
    attribute = f"self.{index_path(target.path)}"
    filled = filled_template(attempt, source, attribute)
    if not filled.template.keep:
        check_no_early_hooks(attempt.modules)
    line = filled.text if filled.template.keep else f"{attribute} = {filled.text}"
    edit = insert_after(source, statement, guarded(evidence, target, attribute, line))
    edits = with_helper(evidence, source, statement, edit, filled.helper)
    return with_effects(attempt, filled, edits)


def guarded(evidence: Evidence, target: Target, attribute: str, line: str) -> str:
    """Put a line under an `if` where some objects of the owner's class lack the layer."""
    owners = [
        module
        for module in evidence.trace.modules
        if module.type.rpartition(".")[2] == target.owner and (module.names or module.ran)
    ]
    if len(owners) <= len(target.modules):
        return line
    container, _, index = attribute.removeprefix("self.").partition("[")
    question = f'hasattr(self, "{container}")'
    if index and "." not in container:
        place = index.partition("]")[0]
        question = f"len(self.{container}) > {place}"
        if not place.isdecimal():  # the key of a dictionary
            question = f"{place} in self.{container}"
    return f"if {question}:\n    {line}"


def plan_shrink(attempt: Attempt) -> Planned:
    """Keep the first half of each stack: `self.blocks = self.blocks[:6]`."""
    evidence, target = attempt.evidence, attempt.target
    stacks = stacks_of(attempt)
    if target.path is not None or not stacks:
        raise NoLegalEdit("it is not one stack of layers in a list or nn.Sequential")
    kept = {place: len(members) - len(members) // 2 for place, members in stacks.items()}
    dropped = {
        number
        for place, members in stacks.items()
        for _, number in sorted(members.items())[kept[place] :]
    }
    check_alone(attempt, dropped)
    check_droppable(evidence, dropped)
    check_alone_in_memory([evidence.module(number) for number in dropped], "0")
    edits = []
    for (owner, container), keep in kept.items():
        check_iterated(evidence, owner, container)
        name = f"self.{index_path(container)}"
        place = building_statement(evidence, target, owner, container)
        edits.append(insert_after(*place, f"{name} = {name}[:{keep}]"))
    numbers = sorted(dropped)
    return Planned(
        edits=tuple(edits),
        substitute="the first half of the layers",
        parameter_delta=evidence.delta(numbers),
        cut_parameters=evidence.vanishing(numbers),
    )


def stacks_of(attempt: Attempt) -> dict[tuple[str, str], dict[int, int]]:
    """Return the stacks of a target: (owner, path of the stack) -> index -> module to drop."""
    evidence, rows = attempt.evidence, []
    for module in attempt.modules:
        if not module.names:  # only copies of it are in the model
            continue
        owner = evidence.owner_of(module, attempt.site.class_name)
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
        if name not in evidence.by_name:
            return {}
        stack = found.setdefault((owner_class, ".".join(parts[:place])), {})
        stack[int(parts[place])] = evidence.by_name[name]
    return {key: members for key, members in found.items() if len(members) > 1}


def check_alone(attempt: Attempt, numbers: Iterable[int]) -> None:
    """Refuse to drop items of a list that hold more than the component: `[mixer, mlp]`."""
    evidence, target = attempt.evidence, attempt.target
    gone = evidence.below(sorted(numbers))
    others = [evidence.module(number) for number in gone - evidence.below(target.modules)]
    if any(module.own_parameters or not module.is_container for module in others):
        raise NoLegalEdit("the list holds other layers beside it, which would go too")


def check_droppable(evidence: Evidence, numbers: Iterable[int]) -> None:
    """Refuse to drop layers behind which the shape differs."""
    for number in numbers:
        module = evidence.module(number)
        modules = [module] if module.ran else layers_of(evidence, number)
        if any("same" not in shape_relations(shape_pairs([one], "0")) for one in modules):
            raise NoLegalEdit("its last layers change the shape: the stack cannot be shortened")


def layers_of(evidence: Evidence, number: int) -> list[ModuleRun]:
    """Return the modules that ran right below a container, or below containers in it."""
    found = [evidence.module(one) for one in evidence.below([number]) if one != number]
    ran = [module for module in found if module.ran]
    names = tuple(f"{name}." for module in ran for name in module.names)
    return [module for module in ran if not module.name.startswith(names)]


def check_iterated(evidence: Evidence, owner: str, container: str) -> None:
    """Refuse stacks that are reached by a running index: it would run off the end."""
    node = evidence.classes[owner][1]
    name = f"self.{index_path(container)}"
    for item in ast.walk(node):
        by_index = isinstance(item, ast.Subscript) and isinstance(item.slice, ast.Name | ast.BinOp)
        if by_index and ast.unparse(item).startswith(f"{name}["):
            raise NoLegalEdit("its layers are reached by index: the stack cannot be shortened")


def building_statement(
    evidence: Evidence, target: Target, owner: str, path: str
) -> tuple[SourceFile, ast.stmt]:
    """Find the statement of the owner's __init__ behind which a stack is complete."""
    source, node = evidence.classes[owner]
    init = method_of(node, "__init__")
    if init is None:
        raise NoLegalEdit(f"{owner} has no __init__ behind which the layer could be replaced")
    module = evidence.module(target.modules[0])
    sites = [*module.built_under, *module.built_at]
    nodes = [source.sites[number] for file, number in sites if file == source.file]
    inside: list[ast.AST] = [node for node in nodes if source.function_of(node) is init]
    if not inside and was_put_there_later(evidence, target, owner):
        raise NoLegalEdit(f"it takes its place in {owner} only after __init__")
    first = path.split(".")[0].split("[")[0]
    inside += [node for node in ast.walk(init) if binds(node, first)]
    if not inside:
        raise NoLegalEdit(f"__init__ of {owner} does not build it")
    statements = [source.outer_statement_of(node, init) for node in inside]
    return source, max(statements, key=lambda statement: statement.lineno)


def was_put_there_later(evidence: Evidence, target: Target, owner: str) -> bool:
    """Whether a layer was made after its owner: by code that wraps or swaps layers, or forward."""
    modules = [evidence.module(number) for number in target.modules]
    found = [(module, evidence.owner_of(module, owner)) for module in modules]
    owners = [
        (module, evidence.module(evidence.by_name[place[1]])) for module, place in found if place
    ]
    return any(0 < above.first_seen < module.first_seen for module, above in owners)


def binds(node: ast.AST, name: str) -> bool:
    """Whether a node assigns to an attribute of self, or adds a module to it."""
    if isinstance(node, ast.Attribute):
        return isinstance(node.ctx, ast.Store) and ast.unparse(node) == f"self.{name}"
    is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return is_method and ast.unparse(node).startswith(("self.add_module", "self.register_module"))
