"""Edits of a forward's own code: calls, operators, concatenations, attention heads."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from antifragile.ablate.discover.arithmetic import (
    DIFFERENCES,
    SUMS,
    merged_items,
    operand_nodes,
    two_sides,
)
from antifragile.ablate.discover.construction.options import HEADS_OF
from antifragile.ablate.discover.evidence import Evidence, SeenSite
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.calls.other_names import changes_other_names
from antifragile.ablate.plan.calls.several_inputs import passed_by_call
from antifragile.ablate.plan.calls.straight_through import check_forward_value
from antifragile.ablate.plan.catalogue import Template, fill_template
from antifragile.ablate.plan.construction.graph import keras_head
from antifragile.ablate.plan.names import library_names, with_helper
from antifragile.ablate.plan.operands import (
    check_numbers,
    first_of_tuple,
    is_exposed,
    passed_operand,
    relations_of,
    shape_pairs,
    shape_relations,
    shape_words,
    types_within,
    words_of_operand,
    words_of_results,
)
from antifragile.ablate.records import AblationKind, ComponentKind, Edit, NoLegalEdit, Planned
from antifragile.ablate.source.edits import edit_at, operand_text, remove_statement, stands_alone
from antifragile.ablate.source.edits import replace as replace_node
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.records import Callee, SiteRun

_CALL = ComponentKind.FUNCTIONAL
_WITHOUT_HEAD = '''def without_head(x, head, axis):
    """Silences one attention head before the heads are merged and projected."""
    keep = {torch}.arange(x.shape[axis], device=x.device) != head
    return x * keep.view(-1, *[1] * (x.dim() - axis - 1))
'''
_WITHOUT_LAST = '''def without_last(tensors):
    """Returns tensors with zeros in the place of the last one."""
    *others, last = tensors
    return [*others, {torch}.zeros_like(last)]
'''
_ATTENTION_WITHOUT_HEAD = '''def without_head(attention, head, *args, **kwargs):
    """Calls nn.MultiheadAttention with one head silenced before the output projection."""
    weight = attention.out_proj.weight
    width = attention.embed_dim // attention.num_heads
    keep = {torch}.arange(attention.embed_dim, device=weight.device) // width != head
    projection = {"out_proj.weight": weight * keep}
    return {torch}.func.functional_call(attention, projection, args, kwargs)
'''


def plan_call(attempt: Attempt) -> Planned:
    """Replace a functional call, or one use of a module, by a template."""
    evidence, kind, run = attempt.evidence, attempt.kind, attempt.site.run
    if run.is_tuple and kind is AblationKind.IDENTITY:
        return plan_first_result(attempt)
    if not run.is_tensor:
        raise NoLegalEdit("it returns more than one tensor")
    types = types_within(evidence, run.modules)
    words = words_of_results(evidence, kind, [run], [run.name, *types])
    name = "module call" if run.callee is Callee.MODULE else run.name
    operand = passed_operand([run])
    pairs = shape_pairs([run], operand)
    relations = relations_of([run], operand)
    template = next(
        (
            item
            for item in attempt.templates
            if item.fits(ComponentKind.FUNCTIONAL, kind, name) and item.shapes in relations
        ),
        None,
    )
    if template is None:
        raise NoLegalEdit(
            f"it turns shape {pairs[0][0]} into {pairs[0][1]}: nothing stands in for it"
        )
    values = call_words(evidence, attempt.site, operand, template) | shape_words(pairs) | words
    bypass = bypassed(run, template, operand)
    if kind is AblationKind.IDENTITY:
        check_numbers([run], bypass)
    filled = fill_template(template, values)
    lost: tuple[str, ...] = ()
    if template.dead or kind is AblationKind.IDENTITY:
        lost = evidence.lost([run], "" if template.dead else bypass)
    passed = passed_by_call(attempt.site, bypass) if kind is AblationKind.IDENTITY else None
    return Planned(
        edits=replaced(attempt, attempt.site.node, filled.text, filled.helper),
        substitute=filled.substitute or passed,
        cut_parameters=lost,
    )


def plan_first_result(attempt: Attempt) -> Planned:
    """Put the input in the place of the first of several results; the others stay."""
    site, run = attempt.site, attempt.site.run
    operand, given = passed_operand([run]), operand_nodes(site.node)
    if operand not in given:
        raise NoLegalEdit("its input is not written as an argument of its own")
    if "same" not in shape_relations(shape_pairs([run], operand)):
        raise NoLegalEdit("the first of its results has another shape than its input")
    check_numbers([run], operand)
    text = f"({site.source.source(given[operand])}, *{site.source.source(site.node)}[1:])"
    return Planned(
        edits=(replace_node(site.source, site.node, text),),
        substitute="the input in place of the first result; the others stay",
        cut_parameters=attempt.evidence.lost([first_of_tuple(run)], operand),
    )


def bypassed(run: SiteRun, template: Template, operand: str) -> str:
    """Return the operand that a template passes on, by position or by name."""
    if template.bypass is None or template.bypass in run.operands:
        return template.bypass or operand
    place = int(template.bypass)
    return template.arguments[place] if place < len(template.arguments) else operand


def replaced(attempt: Attempt, node: ast.AST, text: str, helper: str = "") -> tuple[Edit, ...]:
    """Replace a node; add a helper above, with an import where it needs one."""
    source = attempt.site.source
    return with_helper(attempt.evidence, source, node, replace_node(source, node, text), helper)


def call_words(
    evidence: Evidence, site: SeenSite, operand: str, template: Template
) -> dict[str, str]:
    """Return the placeholders that depend on a call's text."""
    source, node, run, given = site.source, site.node, site.run, operand_nodes(site.node)
    if operand not in given:
        raise NoLegalEdit("its input is not written as an argument of its own")
    subscripted = "{input}[" in template.replacement or "{input}." in template.replacement
    copied = [] if template.helper else [name for name in run.exposed if name in given]
    words = {name: operand_text(source, item) for name, item in given.items()}
    offset = 1 if "self" in given and run.callee is Callee.METHOD else 0
    for place, name in enumerate(template.arguments):
        key = str(place - offset) if place >= offset else "self"
        if key in given:
            text = kept_text(source, given[key], node, is_copied=key in copied)
            words.setdefault(name, text)
    inside = None if subscripted else node
    words = {
        **template.defaults,
        **words,
        "input": kept_text(source, given[operand], inside, is_copied=operand in copied),
        "call": source.source(node),
        **library_names(evidence, source),
    }
    if "{first}" in template.replacement:
        words["first"] = first_positions(run)
    return words


def kept_text(source: SourceFile, node: ast.AST, inside: ast.AST | None, *, is_copied: bool) -> str:
    """Write an expression in the place of another one, as a copy where later code changes it."""
    if is_copied:
        return f"{operand_text(source, node)}.clone()"
    return operand_text(source, node, inside=inside)


def first_positions(run: SiteRun) -> str:
    """Return the index that takes position 0 of the axes a reduction went over: ":, 0"."""
    place = "0" if run.callee is Callee.METHOD else "1"
    axes = run.arguments.get("dim", run.arguments.get("axis", run.arguments.get(place)))
    rank = len(next(iter(run.operands.values())).shape)
    numbers = [axes] if isinstance(axes, int) else axes
    if not isinstance(numbers, list | tuple) or not numbers:
        raise NoLegalEdit("the axes it goes over are not written as numbers")
    positive = {int(number) % rank for number in numbers}
    return ", ".join("0" if axis in positive else ":" for axis in range(max(positive) + 1))


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
            is_copied=not sign and is_exposed([run], kept),
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


def plan_factor(attempt: Attempt) -> Planned:
    """Take a factor away (identity), or replace it by its mean or another sample's."""
    factor, node = attempt.target.operand, attempt.site.node
    assert factor is not None
    if attempt.kind is AblationKind.IDENTITY:
        return plan_without(attempt)
    if is_written_to(attempt, factor):
        raise NoLegalEdit("the factor is what is written to")
    return plan_stand_in(attempt, (operand_nodes(node) | merged_items(node))[factor], factor)


def plan_stand_in(attempt: Attempt, node: ast.AST, operand: str) -> Planned:
    """Replace an operand by its mean or other samples', as a template of calls writes it."""
    evidence, source, kind = attempt.evidence, attempt.site.source, attempt.kind
    words = words_of_operand(evidence, kind, attempt.site.run, operand)
    fitting = (item for item in attempt.templates if item.fits(_CALL, kind, "operand"))
    template = next(fitting, None)
    if template is None:
        raise NoLegalEdit("no template says what stands in for it")
    text = operand_text(source, node)
    names = library_names(evidence, source)
    filled = fill_template(template, {"call": text, "input": text, **names, **words})
    edits = replaced(attempt, node, filled.text, filled.helper)
    return Planned(edits=edits, substitute=filled.substitute)


def plan_concatenation(attempt: Attempt) -> Planned:
    """Replace one part of a concatenation, in its own shape."""
    evidence, kind, source = attempt.evidence, attempt.kind, attempt.site.source
    run, operand, given = attempt.site.run, attempt.target.operand, operand_nodes(attempt.site.node)
    torch = library_names(evidence, source)["torch"]
    if operand is None:
        items = given.get("0", given.get("tensors"))
        assert items is not None
        text, last = source.source(items), list(run.operands)[-1]
        helper = _WITHOUT_LAST.replace("{torch}", torch)
        edits = replaced(attempt, items, f"without_last({text})", helper)
        return Planned(edits=edits, cut_parameters=evidence.lost([run], f"-{last}"))
    prefix, _, place = operand.partition(".")
    collection = given[prefix]
    assert isinstance(collection, ast.List | ast.Tuple)
    item = collection.elts[int(place)]
    if kind is AblationKind.ZERO:
        edits = replaced(attempt, item, f"{torch}.zeros_like({source.source(item)})")
        return Planned(edits=edits, cut_parameters=evidence.lost([run], f"-{operand}"))
    return plan_stand_in(attempt, item, operand)


def plan_heads(attempt: Attempt) -> Iterator[Planned]:
    """Silence each head in turn, before the output projection."""
    source, node, target = attempt.site.source, attempt.site.node, attempt.target
    torch = library_names(attempt.evidence, source)["torch"]
    for head in range(int(target.options["heads"])):
        if HEADS_OF in target.options:
            text, helper = keras_head(attempt, head)
        elif target.operand is None:
            helper, text = _ATTENTION_WITHOUT_HEAD, attention_call(source, node, head)
        else:
            node, helper = operand_nodes(attempt.site.node)[target.operand], _WITHOUT_HEAD
            text = f"without_head({source.source(node)}, {head}, axis={target.options['axis']})"
        edits = replaced(attempt, node, text, helper.replace("{torch}", torch))
        yield Planned(edits=edits, options={"head": str(head)})


def attention_call(source: SourceFile, node: ast.AST, head: int) -> str:
    """Write `without_head(self.attn, 3, q, k, v)` for `self.attn(q, k, v)`."""
    assert isinstance(node, ast.Call)
    callee, end = source.source(node.func), source.place(node)[1]
    arguments = source.text[source.place(node.func)[1] : end].lstrip()
    return f"without_head({callee}, {head}, {arguments[1:].lstrip()}"
