"""Components of a forward that are no modules: functional calls, sums, gates, heads, ..."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from antifragile.ablate.discover.evidence import Evidence, label
from antifragile.ablate.records import AblationKind, Component, ComponentKind, SiteKey, Target
from antifragile.ablate.trace.records import Callee, SiteRun, Value

_SUMS = ("+", "+=", "add", "add_")
_PRODUCTS = ("*", "*=", "mul", "mul_", "multiply")
_CONCATENATIONS = ("cat", "concat", "concatenate", "hstack", "vstack", "dstack", "stack")
_MERGES = ("view", "reshape", "flatten", "rearrange")
_ATTENTION = ("softmax", "scaled_dot_product_attention", "Softmax")
_GATES = re.compile(r"Sigmoid|Tanh|Softmax|Hard|Silu|Gelu|Relu", re.IGNORECASE)
_FUNCTIONAL_KINDS = (
    AblationKind.IDENTITY,
    AblationKind.ZERO,
    AblationKind.MEAN,
    AblationKind.SHUFFLE,
)


def site_targets(evidence: Evidence, functions: Sequence[str]) -> Iterator[Target]:
    """Yield the components of the forward's own code, in the order of the source."""
    for key, run in evidence.ran_sites():
        is_call = run.callee in (Callee.FUNCTION, Callee.METHOD) and run.is_tensor
        if is_call and is_named(run.name, functions):
            yield from functional_target(evidence, key, run)
        if run.name in _SUMS:
            yield from sum_target(evidence, key, run)
        elif run.name in _PRODUCTS:
            yield from gate_target(evidence, key, run)
        elif run.name in _CONCATENATIONS and run.callee is Callee.FUNCTION:
            yield from concatenation_targets(evidence, key, run)
        elif run.name in _MERGES:
            yield from heads_target(evidence, key, run)
        elif run.callee is Callee.MODULE:
            yield from attention_module_target(evidence, key, run)
    yield from idle_targets(evidence, functions)


def is_named(name: str, functions: Sequence[str]) -> bool:
    """Whether a function's name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in functions)


def component_at(
    evidence: Evidence,
    key: SiteKey,
    run: SiteRun,
    name: str,
    kind: ComponentKind,
    kinds: Sequence[AblationKind],
    reason: str | None = None,
) -> Component:
    """Make the component of one place in a forward."""
    source, node = evidence.source(key), evidence.node(key)
    return Component(
        name=f"{source.qualified_name(node) or source.file}:{name}",
        kind=kind,
        span=source.span(node),
        ran=run.ran,
        calls=run.calls or run.eval_calls,
        input_shapes=tuple(value.shape for value in run.operands.values()),
        output_shapes=tuple(value.shape for value in run.outputs),
        kinds=() if reason else tuple(kinds),
        reason=reason,
    )


def functional_target(evidence: Evidence, key: SiteKey, run: SiteRun) -> Iterator[Target]:
    """Yield a call of a function that has a template: activation, dropout, norm, pooling."""
    reason = None
    if run.name in ("mean", "amax") and not (
        len(run.outputs[0].shape) >= 2 and len(next(iter(run.operands.values())).shape) >= 3
    ):
        return
    if run.name in ("mean", "amax") and run.arguments.get("keepdim"):
        return
    if "dropout" in run.name and 0 in (run.arguments.get("p"), run.arguments.get("1")):
        reason = "dropout with probability 0: it changes nothing"
    name = label(evidence.source(key), evidence.node(key))
    kind = ComponentKind.FUNCTIONAL
    component = component_at(evidence, key, run, name, kind, _FUNCTIONAL_KINDS, reason)
    yield Target(component=component, site=key)


def is_raw_parameter(evidence: Evidence, key: SiteKey, node: ast.AST) -> bool:
    """Whether an operand is a parameter itself, perhaps sliced or reshaped."""
    source = evidence.source(key)
    while True:
        run = evidence.run_of(source, node)
        if run is not None and run.callee is Callee.ATTRIBUTE:
            return True
        if isinstance(node, ast.Subscript | ast.Attribute):
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func.value
        else:
            return False


def operand_nodes(node: ast.AST) -> dict[str, ast.expr]:
    """Return the operands of a sum or product by their keys."""
    if isinstance(node, ast.BinOp):
        return {"0": node.left, "1": node.right}
    if isinstance(node, ast.AugAssign):
        return {"0": node.target, "1": node.value}
    assert isinstance(node, ast.Call)
    found: dict[str, ast.expr] = {str(place): item for place, item in enumerate(node.args)}
    found |= {item.arg: item.value for item in node.keywords if item.arg}
    if isinstance(node.func, ast.Attribute):
        found["self"] = node.func.value
    return found


def is_pair(run: SiteRun) -> bool:
    """Whether a sum or product takes two floating tensors, and is not part of a loss."""
    values = list(run.operands.values())
    return (
        len(values) == 2
        and all(value.is_floating for value in values)
        and bool(run.outputs)
        and len(run.outputs[0].shape) >= 2
        and all(value.shape for value in values)
    )


def sum_target(evidence: Evidence, key: SiteKey, run: SiteRun) -> Iterator[Target]:
    """Yield a sum `x + f(x)`: branch and skip; of unrelated summands the second is the branch."""
    nodes = operand_nodes(evidence.node(key))
    if not is_pair(run) or any(name not in nodes for name in run.operands):
        return
    sides = [nodes[name] for name in run.operands]
    if any(is_raw_parameter(evidence, key, side) for side in sides):
        return
    source = evidence.source(key)
    name = " + ".join(label(source, side) for side in sides)
    kinds = (AblationKind.REMOVE_BRANCH, AblationKind.REMOVE_SKIP)
    component = component_at(evidence, key, run, name, ComponentKind.RESIDUAL, kinds)
    yield Target(component=component, site=key, operand=run.skip or next(iter(run.operands)))


def gate_target(evidence: Evidence, key: SiteKey, run: SiteRun) -> Iterator[Target]:
    """Yield a product `a * sigmoid(b)`: the factor that looks like a gate, and the gated value."""
    nodes = operand_nodes(evidence.node(key))
    if not is_pair(run) or any(name not in nodes for name in run.operands):
        return
    source = evidence.source(key)
    sides = {name: nodes[name] for name in run.operands}
    texts = {source.source(side) for side in sides.values()}
    if len(texts) < 2 or any(is_raw_parameter(evidence, key, side) for side in sides.values()):
        return
    gate = gate_of(run)
    name = " * ".join(label(source, side) for side in sides.values())
    kinds = (AblationKind.IDENTITY, AblationKind.MEAN, AblationKind.SHUFFLE)
    component = component_at(evidence, key, run, name, ComponentKind.GATE, kinds)
    yield Target(component=component, site=key, operand=gate)


def gate_of(run: SiteRun) -> str:
    """Return the operand that gates: an activation's output, bounded, broadcast, or the second."""

    def likeness(name: str) -> tuple[bool, bool, bool, bool]:
        value: Value = run.operands[name]
        is_small = value.shape != run.outputs[0].shape
        squashed = re.search("Sigmoid|Softmax|Tanh|Hard", value.producer) is not None
        return (is_small, squashed, bool(_GATES.search(value.producer)), value.bounded)

    first, second = run.operands
    return first if likeness(first) > likeness(second) else second


def concatenation_targets(evidence: Evidence, key: SiteKey, run: SiteRun) -> Iterator[Target]:
    """Yield each operand of `torch.cat([a, b])`."""
    node, source = evidence.node(key), evidence.source(key)
    assert isinstance(node, ast.Call)
    given = operand_nodes(node)
    items = given.get("0", given.get("tensors"))
    prefix = "0" if "0" in given else "tensors"
    kinds = (AblationKind.ZERO, AblationKind.MEAN, AblationKind.SHUFFLE)
    kind = ComponentKind.CONCATENATION
    if not isinstance(items, ast.List | ast.Tuple):
        reason = (
            None if isinstance(items, ast.Name | ast.Attribute) else "its operands have no names"
        )
        component = component_at(evidence, key, run, f"{run.name}[last]", kind, kinds[:1], reason)
        yield Target(component=component, site=key)
        return
    for place, item in enumerate(items.elts):
        value = run.operands.get(f"{prefix}.{place}")
        if value is None or isinstance(item, ast.Starred) or not value.is_floating:
            continue
        name = f"{run.name}[{label(source, item)}]"
        component = component_at(evidence, key, run, name, kind, kinds)
        yield Target(component=component, site=key, operand=f"{prefix}.{place}")


def heads_target(evidence: Evidence, key: SiteKey, run: SiteRun) -> Iterator[Target]:
    """Yield the merge of attention heads, `view(B, T, C)` in a function with attention."""
    if not run.is_tensor or not run.operands or not attends(evidence, key):
        return
    name, value = next(iter(run.operands.items()))
    axis = head_axis(run, value.shape, run.outputs[0].shape)
    if axis is None or name not in operand_nodes(evidence.node(key)):
        return
    heads = value.shape[axis]
    reason = "one head only" if heads < 2 else None
    kinds = (AblationKind.DROP_HEAD,)
    component = component_at(evidence, key, run, "heads", ComponentKind.HEADS, kinds, reason)
    options = {"heads": str(heads), "axis": str(axis)}
    yield Target(component=component, site=key, operand=name, options=options)


def attends(evidence: Evidence, key: SiteKey) -> bool:
    """Whether the function around a site holds a softmax or an attention call that ran."""
    source = evidence.source(key)
    function = source.function_of(evidence.node(key))
    if function is None:
        return False
    for node in ast.walk(function):
        run = evidence.run_of(source, node) if isinstance(node, ast.Call) else None
        if run is not None and run.ran:
            types = {evidence.module(number).type.rpartition(".")[2] for number in run.modules}
            if run.name in _ATTENTION or types & set(_ATTENTION):
                return True
    return False


def head_axis(run: SiteRun, before: tuple[int, ...], after: tuple[int, ...]) -> int | None:
    """Return the axis of the heads when two neighbouring axes are merged, the first of the pair."""
    if run.name == "rearrange":
        return pattern_axis(str(run.arguments.get("1", run.arguments.get("pattern", ""))))
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


def attention_module_target(evidence: Evidence, key: SiteKey, run: SiteRun) -> Iterator[Target]:
    """Yield the heads of a call of nn.MultiheadAttention."""
    modules = [evidence.module(number) for number in run.modules]
    if not modules or any(not module.type.endswith(".MultiheadAttention") for module in modules):
        return
    heads = {int(str(module.settings.get("num_heads", 1))) for module in modules}
    reason = "one head only" if max(heads) < 2 else None
    name = f"{label(evidence.source(key), evidence.node(key))} heads"
    kinds = (AblationKind.DROP_HEAD,)
    component = component_at(evidence, key, run, name, ComponentKind.HEADS, kinds, reason)
    yield Target(component=component, site=key, options={"heads": str(min(heads))})


def idle_targets(evidence: Evidence, functions: Sequence[str]) -> Iterator[Target]:
    """Yield functional calls of the sources that never ran."""
    for source in evidence.sources.values():
        for number, node in enumerate(source.sites):
            if not isinstance(node, ast.Call) or source.class_of(node) is None:
                continue
            run = evidence.trace.sites.get((source.file, number), SiteRun())
            callee = source.source(node.func).split(".")
            is_function = callee[0] in ("F", "torch", "nn", "functional")
            if run.ran or run.other_calls or not is_function or not is_named(callee[-1], functions):
                continue
            reason = "never ran in the traced forward"
            name, kind = label(source, node), ComponentKind.FUNCTIONAL
            key = (source.file, number)
            yield Target(
                component=component_at(evidence, key, run, name, kind, (), reason), site=key
            )
