"""Edits of raw parameters: their reads replaced, or the parameter frozen."""

from __future__ import annotations

import ast

from antifragile.ablate.discover.evidence import Evidence
from antifragile.ablate.plan.names import library_names, with_helper
from antifragile.ablate.records import AblationKind, Edit, NoLegalEdit, Planned, Target
from antifragile.ablate.source.edits import (
    operand_text,
)
from antifragile.ablate.source.edits import replace as replace_node

_FACTS = ("shape", "dtype", "device", "ndim", "requires_grad", "is_cuda")


def plan_parameter(evidence: Evidence, target: Target, kind: AblationKind) -> Planned:
    """Replace every read of a raw parameter, or freeze it where it is made."""
    if kind is AblationKind.REINIT_FROZEN:
        return freeze_parameter(evidence, target)
    if kind is AblationKind.MEAN and target.component.parameters == 1:
        raise NoLegalEdit("a single number: its mean is itself")
    edits: list[Edit] = []
    for key in target.sites:
        source, node = evidence.source(key), evidence.node(key)
        parent = source.parents[node]
        if isinstance(parent, ast.Attribute) and parent.attr in _FACTS:
            continue
        torch, text = library_names(evidence, source)["torch"], source.source(node)
        new = {
            AblationKind.ZERO: f"{torch}.zeros_like({text})",
            AblationKind.CONSTANT: f"{torch}.ones_like({text})",
            AblationKind.MEAN: f"{text}.mean().expand_as({text})",
        }[kind]
        edit = replace_node(source, node, new)
        edits += [edit] if edits else with_helper(evidence, source, node, edit)
    if not edits:
        raise NoLegalEdit("only its shape is read")
    runs = [evidence.trace.sites[key] for key in target.sites]
    lost = () if kind is AblationKind.MEAN else evidence.lost_leaves(runs)
    words = {AblationKind.CONSTANT: "ones", AblationKind.MEAN: "one number, its mean"}.get(kind)
    return Planned(edits=tuple(edits), substitute=words, cut_parameters=lost)


def freeze_parameter(evidence: Evidence, target: Target) -> Planned:
    """Keep a parameter at its initial values."""
    names = {name for key in target.sites for name in evidence.trace.sites[key].parameters}
    for key, made in evidence.trace.parameter_sites.items():
        if names & set(made):
            source, node = evidence.source(key), evidence.node(key)
            text = f"{operand_text(source, node)}.requires_grad_(False)"
            return Planned(edits=(replace_node(source, node, text),), cut_parameters=made)
    raise NoLegalEdit("the expression that makes it is not in the source files")
