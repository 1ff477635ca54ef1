"""Calls as components beside those that a template knows: choices, masks, the user's functions.

torch.where(c, a, b)                  two rows, one keeps a, one keeps b
attention(q, k, v, attn_mask=mask)    the mask
apply_rotary(q, k, cos, sin)          a function of the sources: q and k may pass unchanged
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from antifragile.ablate.discovery.arithmetic import operand_nodes
from antifragile.ablate.discovery.evidence import Evidence, SeenSite, label
from antifragile.ablate.discovery.sites import target_at
from antifragile.ablate.records import AblationKind, ComponentKind, Target
from antifragile.ablate.trace.records import Callee, SiteRun

PASSES = "passes"  # the option that names the operands which take the results' places
_ROTARY = re.compile(r"rotary|rotat|(^|_)rope(_|$)|freqs_cis|RoPE|Rotary|Rope[A-Z]|Rope$")
_KINDS = (AblationKind.IDENTITY,)
_MASK = re.compile(r"(.*_)?(mask|is_causal)")
_MASKS: Mapping[str, Mapping[int, str]] = {  # the masks that library calls take by position
    "scaled_dot_product_attention": {3: "attn_mask", 5: "is_causal"},
    "MultiheadAttention": {3: "key_padding_mask", 5: "attn_mask"},
    "TransformerEncoderLayer": {1: "src_mask", 2: "src_key_padding_mask"},
    "TransformerEncoder": {1: "mask", 2: "src_key_padding_mask"},
    "TransformerDecoderLayer": {2: "tgt_mask", 3: "memory_mask"},
    "TransformerDecoder": {2: "tgt_mask", 3: "memory_mask"},
    "Transformer": {2: "src_mask", 3: "tgt_mask", 4: "memory_mask"},
}
_HINTS = {"is_causal": ("attn_mask", "src_mask", "mask"), "tgt_is_causal": ("tgt_mask",)}


def call_targets(evidence: Evidence) -> Iterator[Target]:
    """Yield choices, masks and calls of the user's functions, in the order of the source."""
    for site in evidence.ran_sites():
        if not isinstance(site.node, ast.Call) or has_spread(site.node):
            continue
        yield from choice_targets(site)
        yield from mask_targets(evidence, site)
        yield from own_call_target(evidence, site)


def has_spread(call: ast.Call) -> bool:
    """Whether a call has `*args` or `**options`, so that its arguments cannot be counted."""
    is_open = any(isinstance(item, ast.Starred) for item in call.args)
    return is_open or any(item.arg is None for item in call.keywords)


def choice_targets(site: SeenSite) -> Iterator[Target]:
    """Yield `torch.where(c, a, b)` twice: a alone, b alone."""
    run, nodes = site.run, operand_nodes(site.node)
    is_known = run.callee in (Callee.FUNCTION, Callee.METHOD) and run.is_tensor
    if run.name != "where" or not is_known or not run.outputs[0].is_floating:
        return
    names = ("self", "1") if run.callee is Callee.METHOD else ("1", "2")
    kept = [name for name in (*names, "input", "other") if name in nodes and fits(run, name, 0)]
    for name in kept:
        words = f"{site.label} keeping {label(site.source, nodes[name])}"
        options = {PASSES: name}
        yield target_at(site, words, ComponentKind.FUNCTIONAL, _KINDS, options=options)
    if not kept:
        reason = "neither choice has the shape of the result"
        yield target_at(site, site.label, ComponentKind.FUNCTIONAL, reason=reason)


def fits(run: SiteRun, operand: str, output: int) -> bool:
    """Whether an operand has the shape and type of a result, over all calls."""
    if operand not in run.operands or output >= len(run.outputs):
        return False
    place = list(run.operands).index(operand)
    if run.operands[operand].dtype != run.outputs[output].dtype:
        return False
    return all(
        place < len(before) and output < len(after) and before[place] == after[output]
        for before, after in run.signatures
    )


def mask_targets(evidence: Evidence, site: SeenSite) -> Iterator[Target]:
    """Yield the masks that a call of the library's attention is given."""
    callee = library_callee(evidence, site)
    if callee is None:
        return
    given = mask_arguments(site, callee)
    for name, key in given.items():
        if callee in _MASKS and callee[0].isupper() and name.endswith("is_causal"):
            continue  # a hint about the mask, which goes with it
        hints = [given[hint] for hint, masks in _HINTS.items() if hint in given and name in masks]
        options = {"hints": ",".join(hints)}
        title = f"{site.label} {name}"
        yield target_at(site, title, ComponentKind.MASK, _KINDS, operand=key, options=options)


def library_callee(evidence: Evidence, site: SeenSite) -> str | None:
    """Return the name of the attention function, or of the library's class, that is called."""
    run = site.run
    if run.callee is Callee.FUNCTION:
        return run.name if run.name in _MASKS else None
    types = {evidence.module(number).type.rpartition(".")[2] for number in run.modules}
    if run.callee is not Callee.MODULE or len(types) != 1 or types & evidence.classes.keys():
        return None
    return types.pop()


def mask_arguments(site: SeenSite, callee: str) -> dict[str, str]:
    """Return the masks that hold a tensor or True: name -> position or name in the call."""
    run, places = site.run, _MASKS.get(callee, {})
    keys = [*map(str, places), *(name for name in operand_nodes(site.node) if name != "self")]
    found = {}
    for key in dict.fromkeys(keys):
        name = places.get(int(key), "") if key.isdigit() else key
        is_set = key in run.operands or run.arguments.get(key) is True
        if is_set and _MASK.fullmatch(name):
            found[name] = key
    return found


def own_call_target(evidence: Evidence, site: SeenSite) -> Iterator[Target]:
    """Yield a call of a function of the sources whose results look like its first arguments."""
    function = own_function(evidence, site)
    operands = passed_operands(site, function) if function is not None else []
    if function is not None and operands:
        options = {PASSES: ",".join(operands), "function": function.name}
        is_idle = returns_as_given(site.run, operands)
        yield target_at(
            site,
            site.label,
            ComponentKind.FUNCTIONAL,
            _KINDS,
            reason="it returns what it is given: nothing to take away" if is_idle else None,
            options=options,
            is_left_out=is_idle,
        )


def returns_as_given(run: SiteRun, operands: Sequence[str]) -> bool:
    """Whether every call returned these very operands: `default(x, y)` with an x."""
    calls = [(made, [given.get(name) for name in operands]) for made, given in run.nodes]
    return bool(calls) and all(made and list(made) == given for made, given in calls)


def own_function(evidence: Evidence, site: SeenSite) -> ast.FunctionDef | None:
    """Return the function that is called: one of a file, or a method that rotates embeddings."""
    if site.run.callee is not Callee.OTHER or not site.run.outputs:
        return None
    callee = site.node.func if isinstance(site.node, ast.Call) else None
    is_method = isinstance(callee, ast.Attribute) and is_rotary(callee.attr)
    if not is_method and not isinstance(callee, ast.Name):
        return None
    nodes = (node for source in evidence.sources.values() for node in ast.walk(source.tree))
    functions = (node for node in nodes if isinstance(node, ast.FunctionDef))
    return next((one for one in functions if one.name == site.run.name), None)


def passed_operands(site: SeenSite, function: ast.FunctionDef) -> list[str]:
    """Return for each result the first argument of its shape and type; none if one has none."""
    run, nodes, found = site.run, operand_nodes(site.node), list[str]()
    if not run.is_tensor and not returns_tuple(function, len(run.outputs)):
        return []
    for place, value in enumerate(run.outputs):
        names = [name for name in run.operands if name in nodes and name not in found]
        names = [name for name in names if is_always_given(run, name)]
        fitting = [name for name in names if value.is_floating and fits(run, name, place)]
        if not fitting or not value.shape:
            return []
        found.append(fitting[0])
    return found


def is_always_given(run: SiteRun, operand: str) -> bool:
    """Whether each call is given the tensors up to an operand; not so in `default(context, x)`."""
    names = list(run.operands)
    first = names[: names.index(operand) + 1]
    return all(list(given)[: len(first)] == first for _, given in run.nodes)


def returns_tuple(function: ast.FunctionDef, length: int) -> bool:
    """Whether every `return` of a function lists so many values."""
    found = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    return bool(found) and all(
        isinstance(value, ast.Tuple) and len(value.elts) == length for value in found
    )


def one_unit_each(evidence: Evidence, targets: Sequence[Target]) -> Iterator[Target]:
    """Leave out what makes rotary embeddings where the call that applies them is a component."""
    has_unit = any(
        is_rotary(target.options.get("function", "")) and not is_inside_rotary(evidence, target)
        for target in targets
    )
    for target in targets:
        if not has_unit or not is_inside_rotary(evidence, target):
            yield target


def is_inside_rotary(evidence: Evidence, target: Target) -> bool:
    """Whether a target is a class that makes rotary embeddings, or lies in one or in a function."""
    if target.modules:
        types = {evidence.module(number).type.rpartition(".")[2] for number in target.modules}
        return all(map(is_rotary, types))
    if target.site is None:
        return False
    site = evidence.site(target.site)
    scopes = (ast.FunctionDef, ast.ClassDef)
    return any(
        is_rotary(one.name) for one in site.source.above(site.node) if isinstance(one, scopes)
    )


def is_rotary(name: str) -> bool:
    """Whether a function or class is named as rotary embeddings are."""
    return _ROTARY.search(name) is not None and "att" not in name.lower()
