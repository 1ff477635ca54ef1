"""Raw parameters that a forward reads, as components."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from antifragile.ablate.discover.evidence import Evidence
from antifragile.ablate.discover.sites import component_at
from antifragile.ablate.records import AblationKind, ComponentKind, SiteKey, Target
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.records import Callee

_FACTORS = ("layer_norm", "batch_norm", "group_norm", "rms_norm", "instance_norm")
_WEIGHTS = ("linear", "bilinear", "embedding", "matmul", "bmm", "einsum", "mm")


def parameter_targets(evidence: Evidence) -> Iterator[Target]:
    """Yield raw parameters that a forward reads, all uses in one class together."""
    found: dict[tuple[str, str], list[SiteKey]] = {}
    for key, run in evidence.ran_sites():
        if run.callee is Callee.ATTRIBUTE and run.outputs[0].parameter is not None:
            source, node = evidence.source(key), evidence.node(key)
            owner = source.class_of(node)
            text = source.source(node).removeprefix("self.")
            found.setdefault((owner.name if owner else source.file, text), []).append(key)
    for (owner_name, text), keys in found.items():
        run = evidence.trace.sites[keys[0]]
        component = component_at(
            evidence, keys[0], run, "", ComponentKind.PARAMETER, parameter_kinds(evidence, keys[0])
        )
        names = {name for key in keys for name in evidence.trace.sites[key].parameters}
        size = sum(evidence.trace.parameters[name] for name in names)
        component = replace(component, name=f"{owner_name}.{text}", parameters=size)
        yield Target(component=component, site=keys[0], sites=tuple(keys))


def parameter_kinds(evidence: Evidence, key: SiteKey) -> tuple[AblationKind, ...]:
    """Return the kinds for a parameter: zero of summands, one of factors, the mean of weights."""
    role = role_of(evidence, key)
    first = {
        "factor": (AblationKind.CONSTANT, AblationKind.MEAN),
        "weight": (AblationKind.MEAN,),
        "summand": (AblationKind.ZERO, AblationKind.MEAN),
    }[role]
    return (*first, AblationKind.REINIT_FROZEN)


def role_of(evidence: Evidence, key: SiteKey) -> str:
    """Return how the nearest arithmetic around a parameter uses it."""
    source, node = evidence.source(key), evidence.node(key)
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
    if name in _FACTORS or name in ("mul", "addcmul"):
        return "summand" if is_bias else "factor"
    if name in _WEIGHTS or name.startswith("conv"):
        return "summand" if is_bias else "weight"
    return "summand"
