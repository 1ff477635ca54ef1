"""Edits of a forward's own code: calls, operators, concatenations, attention heads."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from antifragile.ablate.discovery.arithmetic import (
    merged_items,
    operand_nodes,
)
from antifragile.ablate.discovery.construction.options import HEADS_OF
from antifragile.ablate.discovery.evidence import Evidence, SeenSite
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.calls.hooks import check_no_hooks
from antifragile.ablate.plan.calls.once import (
    bound,
    names_for,
    placeholders_of,
    repeated_arguments,
    text_with,
)
from antifragile.ablate.plan.calls.operators import (
    is_copied,
    is_written_to,
    kept_text,
    plan_without,
)
from antifragile.ablate.plan.calls.several_inputs import (
    first_results,
    n_streams,
    passed_by_call,
    words_of_streams,
)
from antifragile.ablate.plan.calls.sizes import with_shape
from antifragile.ablate.plan.catalogue import Template, fill_template
from antifragile.ablate.plan.construction.graph import keras_head
from antifragile.ablate.plan.names import library_names, replaced
from antifragile.ablate.plan.operands import (
    check_numbers,
    passed_operand,
    relations_of,
    shape_pairs,
    shape_relations,
    shape_words,
    types_within,
    words_of_operand,
    words_of_results,
)
from antifragile.ablate.records import AblationKind, ComponentKind, NoLegalEdit, Planned
from antifragile.ablate.source.edits import operand_text
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
    sizes = ""
    if "{shape}" in template.replacement:
        template, sizes = with_shape(evidence, attempt.site, template, operand)
    check_no_hooks(evidence, run, template)
    if template.shapes == "pooled":
        check_window(attempt, operand)
    repeated = repeated_arguments(attempt.site, template, operand)
    names = names_for(attempt.site.source, attempt.site.node, repeated, template.replacement)
    values = call_words(evidence, attempt.site, operand, template, names)
    bypass = bypassed(run, template, operand)
    if kind is AblationKind.IDENTITY:
        check_numbers([run], bypass)
    filled = fill_template(template, values | shape_words(pairs) | words | {"sizes": sizes})
    text = bound(attempt.site.source, filled.text, names)
    lost: tuple[str, ...] = ()
    if template.dead or kind is AblationKind.IDENTITY:
        lost = evidence.lost([run], "" if template.dead else bypass)
    passed = passed_by_call(attempt.site, bypass) if kind is AblationKind.IDENTITY else None
    return Planned(
        edits=replaced(attempt, attempt.site.node, text, filled.helper),
        substitute=filled.substitute or passed,
        cut_parameters=lost,
    )


def check_window(attempt: Attempt, operand: str) -> None:
    """Refuse to thin out positions by a fixed step where the size of the window is computed.

    A result of a single position is known: it is the first one.
    """
    given = operand_nodes(attempt.site.node)
    others = [item for name, item in given.items() if name not in (operand, "self")]
    parts = [part for item in others for part in ast.walk(item)]
    is_computed = any(isinstance(part, ast.Call | ast.Subscript) for part in parts)
    made = [size for _, after in shape_pairs([attempt.site.run], operand) for size in after[2:]]
    if is_computed and any(size != 1 for size in made):
        raise NoLegalEdit("the size of its window is computed while it runs")


def plan_first_result(attempt: Attempt) -> Planned:
    """Put the input in the place of the first of several results; the others stay."""
    site, run = attempt.site, attempt.site.run
    operand, given = passed_operand([run]), operand_nodes(site.node)
    if operand not in given:
        raise NoLegalEdit("its input is not written as an argument of its own")
    if "same" not in shape_relations(shape_pairs([run], operand)):
        raise NoLegalEdit("the first of its results has another shape than its input")
    check_numbers([run], operand)
    n = n_streams([run], operand)
    names = [operand, *map(str, range(1, n))]
    n = len(names) if all(name in given for name in names) else 1
    kept = [given[name] for name in names[:n]]
    texts = names_for(site.source, site.node, kept)
    firsts = ", ".join(texts.get(item) or site.source.source(item) for item in kept)
    text = f"({firsts}, *{text_with(site.source, site.node, texts)}[{n}:])"
    return Planned(
        edits=(replace_node(site.source, site.node, bound(site.source, text, texts)),),
        substitute=words_of_streams(n),
        cut_parameters=attempt.evidence.lost([first_results(run, operand, n)], operand),
    )


def bypassed(run: SiteRun, template: Template, operand: str) -> str:
    """Return the operand that a template passes on, by position or by name."""
    if template.bypass is None or template.bypass in run.operands:
        return template.bypass or operand
    place = int(template.bypass)
    return template.arguments[place] if place < len(template.arguments) else operand


def call_words(
    evidence: Evidence,
    site: SeenSite,
    operand: str,
    template: Template,
    names: Mapping[ast.AST, str],
) -> dict[str, str]:
    """Return the placeholders that depend on a call's text.

    Args:
        evidence: Source and execution.
        site: The call.
        operand: The argument that may be passed on.
        template: The template.
        names: Names that stand for some of the arguments.
    """
    source, node, run, given = site.source, site.node, site.run, operand_nodes(site.node)
    if operand not in given:
        raise NoLegalEdit("its input is not written as an argument of its own")
    subscripted = "{input}[" in template.replacement or "{input}." in template.replacement
    copied = list[str]()
    if not template.helper:
        copied = [name for name, item in given.items() if is_copied(evidence, site, name, item)]
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
        "call": text_with(source, node, names),
        **library_names(evidence, source),
    }
    for key, item in given.items():
        if item in names:
            text = f"{names[item]}.clone()" if key in copied else names[item]
            words |= dict.fromkeys(placeholders_of(site, template, key, operand), text)
    if "{first}" in template.replacement:
        words["first"] = first_positions(run)
    return words


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
