"""Edits of operators: one operand stays in the place of the result, or ones or zeros go in one."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from antifragile.ablate.discovery.arithmetic import (
    DIFFERENCES,
    SUMS,
    merged_items,
    operand_nodes,
    two_sides,
)
from antifragile.ablate.discovery.evidence import Evidence, SeenSite
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.calls.other_names import changes_other_names
from antifragile.ablate.plan.calls.straight_through import check_forward_value
from antifragile.ablate.plan.calls.unseen import must_be_copied
from antifragile.ablate.plan.names import library_names, replaced
from antifragile.ablate.plan.operands import check_numbers, is_exposed, shape_pairs, shape_relations
from antifragile.ablate.records import AblationKind, Edit, NoLegalEdit, Planned
from antifragile.ablate.source.edits import edit_at, operand_text, remove_statement, stands_alone
from antifragile.ablate.source.edits import replace as replace_node
from antifragile.ablate.source.syntax import SourceFile


def plan_residual(attempt: Attempt) -> Planned:
    """Keep the skip (remove-branch) or the branch (remove-skip)."""
    skip = attempt.target.operand
    assert skip is not None
    keeps_skip = attempt.kind is AblationKind.REMOVE_BRANCH
    return keep_operand(attempt, skip if keeps_skip else other_operand(attempt, skip))


def plan_without(attempt: Attempt) -> Planned:
    """Take one operand away."""
    gone, sides = attempt.target.operand, two_sides(attempt.site)
    assert gone is not None
    if len(sides) > 2:
        return drop_item(attempt, gone, sides)
    return keep_operand(attempt, other_operand(attempt, gone))


def drop_item(attempt: Attempt, gone: str, items: Mapping[str, ast.expr]) -> Planned:
    """Sum the other tensors of `layers.add([a, b, c])`."""
    source, run = attempt.site.source, attempt.site.run
    others = {name: item for name, item in items.items() if name != gone}
    if any(run.operands[name].shape != run.outputs[0].shape for name in others):
        raise NoLegalEdit("what would remain does not all have the shape of the sum")
    text = ", ".join(source.source(item) for item in others.values())
    edit = replace_node(source, source.parents[items[gone]], f"[{text}]")
    return Planned(edits=(edit,), cut_parameters=attempt.evidence.lost([run], f"-{gone}"))


def other_operand(attempt: Attempt, operand: str) -> str:
    """Return the operand of an operator beside a given one."""
    return next(name for name in two_sides(attempt.site) if name != operand)


def keep_operand(attempt: Attempt, kept: str) -> Planned:
    """Put one operand in the place of an operator; what was subtracted keeps its sign.

    An operand that is spread over the other one's shape cannot stand alone: the other one becomes
    zeros in a sum and ones in a product.
    """
    run = attempt.site.run
    is_second = kept == list(two_sides(attempt.site))[1]
    if is_second and run.arguments.get("alpha", 1) != 1:
        raise NoLegalEdit("what would remain is scaled by alpha")
    if "same" not in shape_relations(shape_pairs([run], kept)):
        return neutral_operand(attempt, other_operand(attempt, kept), kept)
    if run.arguments.get(f"mixed {kept}"):
        raise NoLegalEdit("what would remain is not always a tensor")
    check_numbers([run], kept)
    check_forward_value(attempt.site)
    lost = attempt.evidence.lost([run], kept)
    sign = "-" if is_second and run.name in DIFFERENCES else ""
    sides = two_sides(attempt.site)
    gone = next(side for name, side in sides.items() if name != kept)
    source, node = attempt.site.source, attempt.site.node
    if builds_layers(attempt, gone):
        edit = kept_beside(attempt.site, sides, kept, sign)
    else:
        edit = kept_edit(
            source,
            node,
            kept,
            sign,
            is_copied=not sign and is_copied(attempt.evidence, attempt.site, kept, sides[kept]),
            in_place=writes_in_place(attempt) and changes_other_names(source, node),
        )
    return Planned(edits=(edit,), cut_parameters=lost)


def neutral_operand(attempt: Attempt, operand: str, kept: str) -> Planned:
    """Put zeros or ones in the place of an operand whose shape the result needs."""
    run, source = attempt.site.run, attempt.site.source
    node, torch = two_sides(attempt.site)[operand], library_names(attempt.evidence, source)["torch"]
    is_mixed = operand not in run.operands or run.arguments.get(f"mixed {operand}")
    if is_mixed or is_written_to(attempt, operand):
        shape = run.operands[kept].shape
        raise NoLegalEdit(f"what would remain has shape {shape}, not {run.outputs[0].shape}")
    filled = "zeros" if run.name in SUMS else "ones"
    text = f"{torch}.{filled}_like({source.source(node)})"
    return Planned(
        edits=replaced(attempt, node, text),
        substitute=f"{filled} in its shape",
        cut_parameters=attempt.evidence.lost([run], kept),
    )


def is_written_to(attempt: Attempt, operand: str) -> bool:
    """Whether an operator changes an operand in place: `x += y`, `x.mul_(y)`."""
    if isinstance(attempt.site.node, ast.AugAssign):
        return operand == "0"
    return operand == "self" and attempt.site.run.name.endswith("_")


def builds_layers(attempt: Attempt, operand: ast.expr) -> bool:
    """Whether an operand is computed, in place, while a functional Keras model is built."""
    is_built = attempt.evidence.trace.framework == "keras" and attempt.site.run.other_calls > 0
    return is_built and any(isinstance(node, ast.Call) for node in ast.walk(operand))


def kept_beside(site: SeenSite, sides: Mapping[str, ast.expr], kept: str, sign: str) -> Edit:
    """Write `(a, b)[0]`: b is still built, so that all later layers keep their order."""
    source, node = site.source, site.node
    both = ", ".join(source.source(side) for side in sides.values())
    text = f"{sign}({both})[{list(sides).index(kept)}]"
    if isinstance(node, ast.AugAssign):
        text = f"{source.source(node.target)} = {text}"
    return replace_node(source, node, text)


def writes_in_place(attempt: Attempt) -> bool:
    """Whether an operator such as `+=` changes the tensor on its left, which is always one."""
    is_torch = attempt.evidence.trace.framework == "torch"
    return is_torch and not attempt.site.run.arguments.get("mixed 0")


def kept_edit(
    source: SourceFile,
    node: ast.AST,
    kept: str,
    sign: str = "",
    *,
    is_copied: bool = False,
    in_place: bool = False,
) -> Edit:
    """Write the edit that leaves one operand.

    Args:
        source: The source file.
        node: The operator or call.
        kept: The operand that stays.
        sign: Its sign.
        is_copied: Whether a copy of it stays.
        in_place: Whether the operator changes a tensor that may have other names: it still does.
    """
    sides, statement = operand_nodes(node) | merged_items(node), source.parents[node]
    side = sides[kept]
    if not isinstance(node, ast.AugAssign) and not isinstance(statement, ast.Expr):
        text = sign + kept_text(source, side, None if sign else node, is_copied=is_copied)
        if in_place and kept != "self":
            text = f"{source.source(sides['self'])}.copy_({text})"
        return replace_node(source, node, text)
    target = node.target if isinstance(node, ast.AugAssign) else sides["self"]
    if side is target:
        changed = node if isinstance(node, ast.AugAssign) else statement
        assert isinstance(changed, ast.stmt)
        return remove_statement(source, changed)
    left = source.source(target) + ("[...]" if in_place else "")
    right = source.source(side)
    if sign or is_copied or not stands_alone(right):
        right = sign + kept_text(source, side, None, is_copied=is_copied)
    elif isinstance(node, ast.AugAssign) and not in_place:
        start, end = source.place(node.target)[1], source.place(node.value)[0]
        equals = source.text.index("=", start, end)
        return edit_at(source, equals - 1, equals + 1, "=")
    return replace_node(source, node, f"{left} = {right}")


def is_copied(evidence: Evidence, site: SeenSite, operand: str, node: ast.expr) -> bool:
    """Whether later code may write into an operand that takes the place of a call's result."""
    if evidence.trace.framework != "torch" or operand not in site.run.operands:
        return False
    unseen = must_be_copied(evidence, site.source, site.node, node)
    return unseen or is_exposed([site.run], operand)


def kept_text(source: SourceFile, node: ast.AST, inside: ast.AST | None, *, is_copied: bool) -> str:
    """Write an expression in the place of another one, as a copy where later code changes it."""
    if is_copied:
        return f"{operand_text(source, node)}.clone()"
    return operand_text(source, node, inside=inside)
