"""From a component and a kind of ablation to the edits that make it, or the reason for none."""

from __future__ import annotations

from collections.abc import Sequence

from antifragile.ablate.discover.evidence import Joined
from antifragile.ablate.plan.catalogue import Template
from antifragile.ablate.plan.inputs import plan_input, plan_marked, plan_parameter
from antifragile.ablate.plan.modules import plan_modules
from antifragile.ablate.plan.record import Plan
from antifragile.ablate.plan.sites import (
    plan_call,
    plan_concatenation,
    plan_gate,
    plan_heads,
    plan_sum,
)
from antifragile.ablate.plan.stacks import plan_layer, plan_shrink
from antifragile.ablate.records import AblationKind, ComponentKind
from antifragile.ablate.target import Refused, Target


def plan(
    joined: Joined, target: Target, kind: AblationKind, templates: Sequence[Template]
) -> list[Plan]:
    """Plan the variants of one component and kind: one, or one per head.

    Args:
        joined: Source and execution.
        target: What to ablate.
        kind: How.
        templates: The catalogue.

    Returns:
        At least one plan.

    Raises:
        Refused: No legal edit exists.
    """
    if target.component.reason is not None:
        raise Refused(target.component.reason)
    if kind not in target.component.kinds:
        raise Refused(f"{kind} makes no sense for a {target.component.kind} component")
    if target.modules:
        return [plan_of_modules(joined, target, kind, templates)]
    match target.component.kind:
        case ComponentKind.RESIDUAL:
            return [plan_sum(joined, target, kind)]
        case ComponentKind.GATE:
            return [plan_gate(joined, target, kind)]
        case ComponentKind.CONCATENATION:
            return [plan_concatenation(joined, target, kind)]
        case ComponentKind.HEADS:
            return plan_heads(joined, target)
        case ComponentKind.INPUT:
            return [plan_input(joined, target, kind)]
        case ComponentKind.PARAMETER:
            return [plan_parameter(joined, target, kind)]
        case ComponentKind.MARKED:
            return [plan_marked(joined, target)]
        case _:
            return [plan_call(joined, target, kind, templates)]


def plan_of_modules(
    joined: Joined, target: Target, kind: AblationKind, templates: Sequence[Template]
) -> Plan:
    """Plan an edit of a construction, or behind it for one layer of a stack."""
    if kind is AblationKind.SHRINK:
        return plan_shrink(joined, target)
    if target.path is not None:
        return plan_layer(joined, target, kind, templates)
    return plan_modules(joined, target, kind, templates)
