"""Components of a forward that are no modules: calls, operators, concatenations, heads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from antifragile.ablate.discovery.arithmetic import operand_nodes, operations, two_sides
from antifragile.ablate.discovery.evidence import Evidence, SeenSite, label
from antifragile.ablate.discovery.graphs.layers import WHICH, graph_layers
from antifragile.ablate.records import AblationKind, Component, ComponentKind, Target
from antifragile.ablate.trace.records import Callee, SiteRun

_CONCATENATIONS = ("cat", "concat", "concatenate", "hstack", "vstack", "dstack", "stack")
_MERGES = ("view", "reshape", "flatten", "rearrange")
_ATTENTION = ("softmax", "scaled_dot_product_attention", "Softmax")
_MOST_SEEN = 64  # items of a list that the tracer describes
_LIBRARY_ATTENTION = re.compile(r"torch\..*\.MultiheadAttention")
_ATTENTIVE = re.compile(r"att(e|n)", re.IGNORECASE)
_REARRANGE = re.compile(r"einops\..*\.Rearrange")
_TAKEN_AWAY = (  # kinds that leave one operand of an operator
    *(AblationKind.REMOVE_BRANCH, AblationKind.REMOVE_SKIP),
    *(AblationKind.ZERO, AblationKind.IDENTITY),
)
_ONE_HEAD = "one head only: it is the attention itself"
_PLAIN = (
    *("clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_max", "abs", "abs_", "sign", "roll"),
    *("flip", "cumsum", "masked_fill", "masked_fill_", "tril", "tril_", "triu", "triu_"),
    *("pad", "interpolate"),
)
_KINDS = {
    ComponentKind.FUNCTIONAL: (
        AblationKind.IDENTITY,
        AblationKind.ZERO,
        AblationKind.MEAN,
        AblationKind.SHUFFLE,
    ),
    ComponentKind.CONCATENATION: (AblationKind.ZERO, AblationKind.MEAN, AblationKind.SHUFFLE),
    ComponentKind.HEADS: (AblationKind.DROP_HEAD,),
}


def site_targets(evidence: Evidence, functions: Sequence[str]) -> Iterator[Target]:
    """Yield the components of the forward's own code, in the order of the source."""
    for site in evidence.ran_sites():
        run = site.run
        is_call = run.callee in (Callee.FUNCTION, Callee.METHOD) and run.is_tensor
        if is_call and is_named(run.name, functions):
            yield from functional_target(site)
        yield from operation_targets(evidence, site)
        if run.name in _CONCATENATIONS and run.callee in (Callee.FUNCTION, Callee.MODULE):
            yield from concatenation_targets(site)
        elif run.name in _MERGES:
            yield from heads_target(evidence, site)
        elif run.callee is Callee.MODULE:
            yield from attention_module_target(evidence, site)
            if pattern_of(evidence, site):
                yield from heads_target(evidence, site)
    yield from idle_targets(evidence, functions)


def is_named(name: str, functions: Sequence[str]) -> bool:
    """Whether a function's name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in functions)


def target_at(
    site: SeenSite,
    name: str,
    kind: ComponentKind,
    kinds: Sequence[AblationKind] | None = None,
    *,
    reason: str | None = None,
    operand: str | None = None,
    options: Mapping[str, str] | None = None,
    is_left_out: bool = False,
) -> Target:
    """Make the target of one place in a forward; its ablations are those of its kind."""
    run = site.run
    component = Component(
        name=f"{site.function}:{name}",
        kind=kind,
        span=site.source.span(site.node),
        ran=run.ran,
        calls=run.calls or run.eval_calls,
        input_shapes=tuple(value.shape for value in run.operands.values()),
        output_shapes=tuple(value.shape for value in run.outputs),
        kinds=() if reason else tuple(_KINDS[kind] if kinds is None else kinds),
        reason=reason,
        is_left_out=is_left_out,
    )
    return Target(component=component, site=site.key, operand=operand, options=options or {})


def operation_targets(evidence: Evidence, site: SeenSite) -> Iterator[Target]:
    """Yield what a sum, product or quotient is made of: residual, gate, scale, operands."""
    for item in operations(evidence, site):
        kinds = tuple(item.removes)
        target = target_at(site, item.name, item.kind, kinds, operand=item.operand)
        if title := name_of_merge(evidence, site):
            target = target.named(f"{title}: {item.name}")
        target = replace(target, component=replace(target.component, removes=item.removes))
        yield target
        if item.operand in ("0.0", "0.1") and len(site.run.modules) > 1:
            yield from merge_targets(evidence, site, target, item.name)


def merge_targets(
    evidence: Evidence, site: SeenSite, target: Target, words: str
) -> Iterator[Target]:
    """Yield each of the layers that merge here, `Add` in a loop, cut in the finished model."""
    kinds = tuple(kind for kind in target.component.kinds if kind in _TAKEN_AWAY)
    if len(two_sides(site)) != 2:
        return
    for number, key in graph_layers(evidence, sorted(site.run.modules)):
        module = evidence.module(number)
        name = f"{module.title}: {words}"
        component = replace(
            target.component,
            name=name,
            calls=module.calls or module.eval_calls,
            modules=module.names,
            kinds=kinds,
        )
        options = {WHICH: str(module.settings[WHICH])}
        yield replace(target, component=component, site=key, modules=(number,), options=options)


def name_of_merge(evidence: Evidence, site: SeenSite) -> str:
    """Return the name that the user gave to the layer which merges here; "" without one."""
    for item in site.node.keywords if isinstance(site.node, ast.Call) else ():
        if item.arg == "name" and isinstance(item.value, ast.Constant):  # layers.add([a, b], name=)
            return str(item.value.value)
    modules = [evidence.module(number) for number in site.run.modules]
    is_named = [str(module.settings.get(WHICH)).startswith("name=") for module in modules]
    return modules[0].title if is_named == [True] else ""


def functional_target(site: SeenSite) -> Iterator[Target]:
    """Yield a call of a function that has a template: activation, dropout, norm, pooling."""
    run, reason = site.run, None
    if run.name in ("mean", "amax") and (
        len(run.outputs[0].shape) < 2
        or len(next(iter(run.operands.values())).shape) < 3
        or run.arguments.get("keepdim")
    ):
        return
    if "dropout" in run.name and 0 in (run.arguments.get("p"), run.arguments.get("1")):
        reason = "dropout with probability 0: it changes nothing"
    kinds = plain_kinds(run)
    if kinds is None or kinds:
        kind, nothing = ComponentKind.FUNCTIONAL, reason is not None
        yield target_at(site, site.label, kind, kinds, reason=reason, is_left_out=nothing)


def plain_kinds(run: SiteRun) -> tuple[AblationKind, ...] | None:
    """Return the kinds for a call that computes no features; None for any other call.

    Of a constant mask, `triu` names what is hidden and `tril` what is seen. Whole numbers and truth
    values are indices or conditions, which have no neutral value.
    """
    if run.name not in _PLAIN:
        return None
    if not run.outputs[0].is_floating:
        return ()
    is_constant = not any(value.producer for value in run.operands.values())
    is_triangle = run.name in ("tril", "triu") and is_constant
    if is_triangle:
        return (AblationKind.ZERO if run.name == "triu" else AblationKind.IDENTITY,)
    return _KINDS[ComponentKind.FUNCTIONAL]


def concatenation_targets(site: SeenSite) -> Iterator[Target]:
    """Yield each operand of `torch.cat([a, b])`."""
    run, kind, given = site.run, ComponentKind.CONCATENATION, operand_nodes(site.node)
    prefix = "0" if "0" in given else "tensors"
    items, is_left_out = given.get(prefix), False
    if not isinstance(items, ast.List | ast.Tuple):
        is_one = isinstance(items, ast.expr) and not isinstance(items, ast.Starred)
        is_seen = is_one and 0 < len(run.operands) < _MOST_SEEN
        reason = None if is_seen else "which operand is the last is not seen"
        if is_one and is_of_one(run):
            reason, is_left_out = "its list holds one tensor: nothing is joined", True
        name, kinds = f"{run.name}[last]", _KINDS[kind][:1]
        yield target_at(site, name, kind, kinds, reason=reason, is_left_out=is_left_out)
        return
    for place, item in enumerate(items.elts):
        operand = f"{prefix}.{place}"
        value = run.operands.get(operand)
        if value is not None and value.is_floating and not isinstance(item, ast.Starred):
            yield target_at(site, f"{run.name}[{label(site.source, item)}]", kind, operand=operand)


def is_of_one(run: SiteRun) -> bool:
    """Whether every call was given one tensor."""
    return bool(run.signatures) and all(len(before) == 1 for before, _ in run.signatures)


def heads_target(evidence: Evidence, site: SeenSite) -> Iterator[Target]:
    """Yield the merge of attention heads, `view(B, T, C)` in a function with attention."""
    run = site.run
    if not run.is_tensor or not run.operands:
        return
    name, value = next(iter(run.operands.items()))
    if not attends(evidence, site, value.shape):
        return
    axis = head_axis(value.shape, run.outputs[0].shape, pattern_of(evidence, site))
    if axis is not None and name in operand_nodes(site.node):
        kind, heads = ComponentKind.HEADS, value.shape[axis]
        facts = {"heads": str(heads), "axis": str(axis)}
        reason = _ONE_HEAD if heads < 2 else None
        yield target_at(
            site,
            "heads",
            kind,
            reason=reason,
            operand=name,
            options=facts,
            is_left_out=reason is not None,
        )


def attends(evidence: Evidence, site: SeenSite, shape: tuple[int, ...]) -> bool:
    """Whether the function around a site holds a softmax or an attention call that ran.

    An attention call is a library's, or one that is named so and returns a tensor of the shape: an
    attention function that is chosen by a setting, an `Attend` module.
    """
    function = site.source.function_of(site.node)
    for node in ast.walk(function) if function else ():
        run = evidence.run_of(site.source, node) if isinstance(node, ast.Call) else None
        if run is None or not run.ran:
            continue
        assert isinstance(node, ast.Call)
        types = {evidence.module(number).type.rpartition(".")[2] for number in run.modules}
        if run.name in _ATTENTION or types & set(_ATTENTION):
            return True
        is_named_so = _ATTENTIVE.search(site.source.source(node.func).rpartition(".")[2])
        if is_named_so and any(value.shape == shape for value in run.outputs):
            return True
    return False


def pattern_of(evidence: Evidence, site: SeenSite) -> str:
    """Return the pattern of a call of einops' `rearrange`, or of its module; "" of others."""
    run = site.run
    if run.name == "rearrange":
        return str(run.arguments.get("1", run.arguments.get("pattern", "")))
    modules = [evidence.module(number) for number in run.modules]
    are_moving = modules and all(_REARRANGE.fullmatch(module.type) for module in modules)
    patterns = {str(module.settings.get("pattern", "")) for module in modules if are_moving}
    return patterns.pop() if len(patterns) == 1 else ""


def head_axis(before: tuple[int, ...], after: tuple[int, ...], pattern: str) -> int | None:
    """Return the axis of the heads when two neighbouring axes are merged, the first of the pair."""
    if pattern:
        return pattern_axis(pattern)
    if len(before) == 4 and len(after) == 3 and after[:2] == before[:2]:
        return 2 if after[2] == before[2] * before[3] else None
    return None


def pattern_axis(pattern: str) -> int | None:
    """Return the axis of h in `b h n d -> b n (h d)`."""
    left, arrow, right = pattern.partition("->")
    group = re.search(r"\((\w+) \w+\)\s*$", right)
    names = left.split()
    if not arrow or "(" in left or group is None or group[1] not in names:
        return None
    return names.index(group[1])


def attention_module_target(evidence: Evidence, site: SeenSite) -> Iterator[Target]:
    """Yield the heads of a call of nn.MultiheadAttention."""
    modules = [evidence.module(number) for number in site.run.modules]
    if modules and all(_LIBRARY_ATTENTION.fullmatch(module.type) for module in modules):
        heads = {int(str(module.settings.get("num_heads", 1))) for module in modules}
        reason, name = _ONE_HEAD if max(heads) < 2 else None, f"{site.label} heads"
        facts = {"heads": str(min(heads))}
        kind, is_one = ComponentKind.HEADS, reason is not None
        yield target_at(site, name, kind, reason=reason, options=facts, is_left_out=is_one)


def idle_targets(evidence: Evidence, functions: Sequence[str]) -> Iterator[Target]:
    """Yield functional calls of the sources that never ran."""
    for source in evidence.sources.values():
        for number, node in enumerate(source.sites):
            if not isinstance(node, ast.Call) or source.class_of(node) is None:
                continue
            site, callee = evidence.site((source.file, number)), source.source(node.func).split(".")
            is_function = callee[0] in ("F", "torch", "nn", "functional")
            is_idle = not site.run.ran and not site.run.other_calls
            if is_idle and is_function and is_named(callee[-1], functions):
                reason = "never ran in the traced forward"
                yield target_at(site, site.label, ComponentKind.FUNCTIONAL, reason=reason)
