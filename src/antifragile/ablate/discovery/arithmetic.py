"""Sums, differences, products and quotients of a forward: which operand is what, and what goes.

    x + f(x), x - f(x)    residual: branch and skip, where the one is computed from the other
    a + b                 sum: unrelated summands, a row for each
    a * sigmoid(b)        gate: the factor that gates goes, the content stays
    a * b                 product: neither is plainly the gate, a row for each
    0.5 * a, a / sqrt(d)  scale: the factor or divisor goes

Which operand depends on which is read off the gradient graph, or off the text where that is silent.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations
from math import prod

from antifragile.ablate.discovery.evidence import Evidence, SeenSite, label
from antifragile.ablate.discovery.gates import gate_of
from antifragile.ablate.records import AblationKind, ComponentKind
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.recorder import PRODUCTS
from antifragile.ablate.trace.records import Callee

DIFFERENCES = ("-", "-=", "sub", "sub_", "subtract", "subtract_")
SUMS = ("+", "+=", "add", "add_", *DIFFERENCES)
_QUOTIENTS = ("/", "/=", "div", "div_", "divide", "divide_", "true_divide")
_FACTS = ("shape", "dtype", "device", "ndim", "size", "dim", "type")  # no values of a tensor
_MOST_CALLS = 8  # of one site are asked which operand depends on which
_GATED = (AblationKind.IDENTITY, AblationKind.MEAN, AblationKind.SHUFFLE)

_INVERSE = re.compile(r"(Rsqrt|Reciprocal)Backward\d*")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A component made of one operator.

    Args:
        name: The expression in a few characters.
        kind: The kind of component.
        operand: The skip of a residual; of others the operand that goes.
        removes: The operand that each kind of ablation takes away, as written.
    """

    name: str
    kind: ComponentKind
    operand: str
    removes: Mapping[AblationKind, str]


def operations(evidence: Evidence, site: SeenSite) -> Iterator[Operation]:
    """Yield the components that one sum, difference, product or quotient makes."""
    run = site.run
    is_known = run.name in SUMS or run.name in PRODUCTS or run.name in _QUOTIENTS
    if not is_known or not run.outputs or len(run.outputs[0].shape) < 2:
        return  # something else, a loss, a number
    sides = two_sides(site)
    if run.name in SUMS:
        if are_components(evidence, site, sides):
            yield from sums(evidence, site, sides)
    elif factor := scale_of(evidence, site, sides):
        yield scale(site, sides, factor)
    elif run.name in PRODUCTS and are_components(evidence, site, sides):
        yield from products(site, sides)


def operand_nodes(node: ast.AST) -> dict[str, ast.expr]:
    """Return the operands of a call or operator by their keys."""
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


def two_sides(site: SeenSite) -> dict[str, ast.expr]:
    """Return the two operands of an operator, left one first; none where they are not written."""
    nodes, run = operand_nodes(site.node), site.run
    if items := merged_items(site.node):
        return items
    if isinstance(site.node, ast.Call):
        names = ["self", "0", "other"] if run.callee is Callee.METHOD else ["0", "1", *"xy"]
        names += [] if run.callee is Callee.METHOD else ["input", "other", "x1", "x2"]
        nodes = {name: nodes[name] for name in names if name in nodes}
    is_starred = any(isinstance(node, ast.Starred) for node in nodes.values())
    return nodes if len(nodes) == 2 and not is_starred else {}


def merged_items(node: ast.AST) -> dict[str, ast.expr]:
    """Return the tensors of `layers.add([a, b])` by their keys; empty where they have no names."""
    if not isinstance(node, ast.Call) or len(node.args) != 1:
        return {}
    items = node.args[0]
    if not isinstance(items, ast.List | ast.Tuple):
        return {}
    if any(isinstance(item, ast.Starred) for item in items.elts):
        return {}
    return {f"0.{place}": item for place, item in enumerate(items.elts)}


def are_components(evidence: Evidence, site: SeenSite, sides: Mapping[str, ast.expr]) -> bool:
    """Whether both operands are floating tensors, and neither is a parameter itself."""
    whole = {name.partition(".")[0] for name in sides if "." in name}  # stand for their first item
    values = {name: value for name, value in site.run.operands.items() if name not in whole}
    return (
        set(values) == set(sides) != set()
        and all(value.is_floating and value.shape for value in values.values())
        and not any(is_raw_parameter(evidence, site.source, side) for side in sides.values())
    )


def is_raw_parameter(evidence: Evidence, source: SourceFile, node: ast.AST) -> bool:
    """Whether an operand is a parameter itself, perhaps sliced or reshaped."""
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


def labels_of(source: SourceFile, sides: Mapping[str, ast.expr]) -> dict[str, str]:
    """Name two operands in a few characters, so that a reader can tell them apart."""
    found = {name: label(source, side) for name, side in sides.items()}
    found |= {name: found[name][1:-1] for name in found if isinstance(sides[name], ast.BinOp)}
    if len(found) > 2:
        return found
    if len(set(found.values())) == 1:
        texts = {name: " ".join(source.source(side).split()) for name, side in sides.items()}
        if len(set(texts.values())) > 1 and max(map(len, texts.values())) <= 32:
            return texts
        words = ("the first", "the second")
        found = {name: f"{word} {found[name]}" for name, word in zip(found, words, strict=True)}
    return found


def sums(evidence: Evidence, site: SeenSite, sides: Mapping[str, ast.expr]) -> Iterator[Operation]:
    """Yield a sum or difference: branch and skip in one row, or a row for each summand."""
    labels = labels_of(site.source, sides)
    name = (" - " if site.run.name in DIFFERENCES else " + ").join(
        label(site.source, side) for side in sides.values()
    )
    skip = skip_of(evidence, site, sides) if len(sides) == 2 else None
    if skip is None:
        for operand, text in labels.items():
            yield Operation(
                name=f"{text} of {name}",
                kind=ComponentKind.SUM,
                operand=operand,
                removes={AblationKind.ZERO: text},
            )
        return
    branch = next(operand for operand in sides if operand != skip)
    removes = {
        AblationKind.REMOVE_BRANCH: labels[branch],
        AblationKind.REMOVE_SKIP: labels[skip],
    }
    yield Operation(name=name, kind=ComponentKind.RESIDUAL, operand=skip, removes=removes)


def skip_of(evidence: Evidence, site: SeenSite, sides: Mapping[str, ast.expr]) -> str | None:
    """Return the operand that the other one is computed from; None where neither is, or both."""
    first, second = sides
    calls = site.run.nodes
    found, is_told = set(), False
    for _, nodes in calls[:: -(-len(calls) // _MOST_CALLS) or 1]:
        one, other = nodes.get(first), nodes.get(second)
        if one is None or other is None or one == other:
            continue
        is_told = True
        if evidence.depends(other, on=one):
            found.add(first)
        elif evidence.depends(one, on=other):
            found.add(second)
    if not is_told:
        pairs = permutations(sides, 2)
        found = {inner for inner, outer in pairs if holds(sides[outer], sides[inner])}
    return found.pop() if len(found) == 1 else None


def holds(outer: ast.expr, inner: ast.expr) -> bool:
    """Whether the text of one expression stands within another: `x` in `f(x)`, not in `x.shape`."""
    text, queue = ast.unparse(inner), list(ast.iter_child_nodes(outer))
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Attribute) and node.attr in _FACTS:
            continue
        if isinstance(node, ast.expr) and ast.unparse(node) == text:
            return True
        queue += ast.iter_child_nodes(node)
    return False


def products(site: SeenSite, sides: Mapping[str, ast.expr]) -> Iterator[Operation]:
    """Yield a product: its gate, or a row for each factor where that is open."""
    texts = {operand: site.source.source(side) for operand, side in sides.items()}
    if len(sides) != 2 or len(set(texts.values())) < 2:
        return  # a square
    labels = labels_of(site.source, sides)
    name = " * ".join(label(site.source, side) for side in sides.values())
    gate = gate_of(site.run, texts)
    for operand in sides if gate is None else [gate]:
        yield Operation(
            name=name if gate else f"{labels[operand]} of {name}",
            kind=ComponentKind.GATE if gate else ComponentKind.PRODUCT,
            operand=operand,
            removes=dict.fromkeys(_GATED, labels[operand]),
        )


def scale_of(evidence: Evidence, site: SeenSite, sides: Mapping[str, ast.expr]) -> str | None:
    """Return the operand that scales the other one: a divisor, a number, one value for all."""
    if len(sides) != 2 or site.run.arguments.get("rounding_mode"):
        return None
    first, second = sides
    if is_scaled(evidence, site, first, sides) and scales(site, second):
        return second
    is_product = site.run.name in PRODUCTS
    is_turned = is_product and is_scaled(evidence, site, second, sides) and scales(site, first)
    return first if is_turned else None


def is_scaled(
    evidence: Evidence, site: SeenSite, operand: str, sides: Mapping[str, ast.expr]
) -> bool:
    """Whether an operand is a value of the forward: a table or a parameter is none."""
    value = site.run.operands.get(operand)
    return (
        value is not None
        and value.is_floating
        and prod(value.shape) > 1
        and not is_raw_parameter(evidence, site.source, sides[operand])
        and any(nodes.get(operand) in evidence.fed for _, nodes in site.run.nodes)
    )


def scales(site: SeenSite, operand: str) -> bool:
    """Whether an operand scales: a number but 1, one value, 1 / norm, or any divisor."""
    run, value = site.run, site.run.operands.get(operand)
    if value is None:
        number = run.arguments.get(operand)
        return isinstance(number, int | float) and number not in (0, 1)
    is_inverse = _INVERSE.fullmatch(value.producer) and value.shape != run.outputs[0].shape
    return run.name in _QUOTIENTS or prod(value.shape) == 1 or bool(is_inverse)


def scale(site: SeenSite, sides: Mapping[str, ast.expr], factor: str) -> Operation:
    """Make the component of a scale factor or divisor."""
    sign = " * " if site.run.name in PRODUCTS else " / "
    return Operation(
        name=sign.join(label(site.source, side) for side in sides.values()),
        kind=ComponentKind.SCALE,
        operand=factor,
        removes={AblationKind.IDENTITY: labels_of(site.source, sides)[factor]},
    )
