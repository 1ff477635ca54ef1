"""Raw parameters that a forward reads, as components."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from antifragile.ablate.discovery.evidence import Evidence, SeenSite
from antifragile.ablate.discovery.sites import target_at
from antifragile.ablate.records import AblationKind, ComponentKind, Target
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.records import Callee

_FACTORS = ("layer_norm", "batch_norm", "group_norm", "rms_norm", "instance_norm")
_FACTS = ("shape", "dtype", "device", "ndim", "requires_grad", "is_cuda")
_WEIGHTS = ("linear", "bilinear", "embedding", "matmul", "bmm", "einsum", "mm")


def parameter_targets(evidence: Evidence) -> Iterator[Target]:
    """Yield raw parameters that a forward reads, all uses in one class together."""
    found: dict[str, list[SeenSite]] = {}
    for site in evidence.ran_sites():
        is_parameter = site.run.callee is Callee.ATTRIBUTE and site.run.outputs[0].parameter
        if is_parameter and not is_fact(site.source.parents[site.node]):
            text = site.source.source(site.node).removeprefix("self.")
            name = f"{site.class_name or site.source.file}.{text}"
            found.setdefault(name, []).append(site)
    for name, sites in found.items():
        names = {parameter for site in sites for parameter in site.run.parameters}
        size = sum(evidence.trace.parameters[parameter] for parameter in names)
        target = target_at(
            sites[0], "", ComponentKind.PARAMETER, parameter_kinds(evidence, sites[0])
        )
        component = replace(target.component, name=name, parameters=size)
        yield replace(target, component=component, sites=tuple(site.key for site in sites))


def is_fact(reader: ast.AST) -> bool:
    """Whether what reads a parameter asks for no value: `w.shape`, `w is not None`."""
    if isinstance(reader, ast.Compare):
        return all(isinstance(sign, ast.Is | ast.IsNot) for sign in reader.ops)
    return isinstance(reader, ast.Attribute) and reader.attr in _FACTS


def parameter_kinds(evidence: Evidence, site: SeenSite) -> tuple[AblationKind, ...]:
    """Return the kinds for a parameter: zero of summands, one of factors, the mean of weights."""
    first = {
        "factor": (AblationKind.CONSTANT, AblationKind.MEAN),
        "weight": (AblationKind.MEAN,),
        "summand": (AblationKind.ZERO, AblationKind.MEAN),
    }[role_of(evidence, site)]
    if evidence.trace.framework == "keras":
        return first
    return (*first, AblationKind.FREEZE)


def role_of(evidence: Evidence, site: SeenSite) -> str:
    """Return how the nearest arithmetic around a parameter uses it."""
    source, node = site.source, site.node
    while not isinstance(node, ast.stmt):
        parent = source.parents[node]
        if isinstance(parent, ast.BinOp):
            if isinstance(parent.op, ast.MatMult):
                return "weight"
            return "factor" if isinstance(parent.op, ast.Mult | ast.Div) else "summand"
        if isinstance(parent, ast.Call) and node is not parent.func:
            return role_in_call(evidence, source, parent, node)
        node = parent
    return "summand"


def role_in_call(evidence: Evidence, source: SourceFile, call: ast.Call, argument: ast.AST) -> str:
    """Return how a function uses a parameter that it is given."""
    run = evidence.run_of(source, call)
    name = run.name if run else ""
    is_bias = "bias" in source.source(argument)
    if is_bias:
        return "summand"
    if name in (*_FACTORS, "mul", "addcmul"):
        return "factor"
    return "weight" if name in _WEIGHTS or name.startswith("conv") else "summand"
