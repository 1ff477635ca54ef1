"""Plans of every edit of a model, made once: each component with each of its kinds of ablation.

project + trace -> evidence -> targets -> (target, kind) -> Planned or Refused
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from antifragile.ablate.discovery.calls import PASSES
from antifragile.ablate.discovery.construction.options import OPTION
from antifragile.ablate.discovery.evidence import Evidence
from antifragile.ablate.discovery.graphs.layers import WHICH
from antifragile.ablate.discovery.targets import find_targets
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.calls.masks import plan_mask
from antifragile.ablate.plan.calls.operators import plan_residual, plan_without
from antifragile.ablate.plan.calls.pass_through import plan_pass_through
from antifragile.ablate.plan.catalogue import Template, function_patterns, load_templates
from antifragile.ablate.plan.construction.graph import plan_graph_layer, plan_option
from antifragile.ablate.plan.construction.library import plan_part
from antifragile.ablate.plan.construction.statements import (
    plan_flag,
    plan_initialisation,
    plan_untied,
)
from antifragile.ablate.plan.inputs import plan_input
from antifragile.ablate.plan.marks import plan_marked
from antifragile.ablate.plan.modules import plan_modules
from antifragile.ablate.plan.parameters import plan_parameter
from antifragile.ablate.plan.sites import (
    plan_call,
    plan_concatenation,
    plan_factor,
    plan_heads,
)
from antifragile.ablate.plan.stacks import plan_layer, plan_shrink
from antifragile.ablate.records import (
    AblationKind,
    AblationPlan,
    ComponentKind,
    ComponentPlan,
    NoLegalEdit,
    Planned,
    Project,
    Refused,
    Target,
)
from antifragile.ablate.trace.records import Trace

_PLANNERS: dict[ComponentKind, Callable[[Attempt], Planned]] = {
    ComponentKind.RESIDUAL: plan_residual,
    ComponentKind.SUM: plan_without,
    ComponentKind.GATE: plan_factor,
    ComponentKind.PRODUCT: plan_factor,
    ComponentKind.SCALE: plan_without,
    ComponentKind.CONCATENATION: plan_concatenation,
    ComponentKind.INPUT: plan_input,
    ComponentKind.MASK: plan_mask,
    ComponentKind.FLAG: plan_flag,
    ComponentKind.PART: plan_part,
    ComponentKind.INITIALISATION: plan_initialisation,
    ComponentKind.TIED: plan_untied,
    ComponentKind.PARAMETER: plan_parameter,
    ComponentKind.MARKED: plan_marked,
}


def plan_ablations(
    project: Project,
    trace: Trace,
    *,
    templates: Path | None = None,
    groups: Mapping[str, str] | None = None,
    inputs_as_components: bool = False,
) -> AblationPlan:
    """Find every component of a model and plan every edit of each.

    Args:
        project: The model's files and functions.
        trace: The record of one execution: shapes and gradients decide which edit is legal.
        templates: A folder of further edit templates (`*.toml`).
        groups: Named groups of input features: name -> "input[first:last]".
        inputs_as_components: List the model's inputs too; naming groups of them asks for it.

    Returns:
        The plans, in the order of the source; a component's `kinds` begins with the ablation made
        by default.

    Raises:
        SpecError: A source changed since it was traced, or a template is wrong.
    """
    evidence = Evidence(project, trace)
    catalogue = load_templates(templates, trace.framework)
    targets = find_targets(
        evidence,
        function_patterns(catalogue),
        groups,
        inputs_as_components=inputs_as_components,
    )
    plans = tuple(plan_component(evidence, target, catalogue) for target in targets)
    return AblationPlan(
        project=project,
        framework=trace.framework,
        sha256=trace.sha256,
        plans=plans,
        versions=trace.versions,
    )


def plan_component(
    evidence: Evidence, target: Target, templates: Sequence[Template]
) -> ComponentPlan:
    """Plan every kind of one component; kinds that can be made come first."""
    outcomes = {
        kind: plan_kind(evidence, target, kind, templates) for kind in target.component.kinds
    }
    kinds = tuple(sorted(outcomes, key=lambda kind: isinstance(outcomes[kind], Refused)))
    return ComponentPlan(component=replace(target.component, kinds=kinds), outcomes=outcomes)


def plan_kind(
    evidence: Evidence, target: Target, kind: AblationKind, templates: Sequence[Template]
) -> tuple[Planned, ...] | Refused:
    """Plan the variants of one component and kind, one (or one per head), or refuse."""
    try:
        attempt = Attempt(evidence=evidence, target=target, kind=kind, templates=templates)
        if target.component.kind is ComponentKind.HEADS:
            return tuple(plan_heads(attempt))
        return (with_unseen_gradients(attempt, planner_of(attempt)(attempt)),)
    except NoLegalEdit as error:
        return Refused(reason=str(error))


def with_unseen_gradients(attempt: Attempt, planned: Planned) -> Planned:
    """Let one use of shared modules take their gradient where the traced training made none there.

    A model may choose by what it counts, so the use may be the only one in another forward.
    """
    target, evidence = attempt.target, attempt.evidence
    if "use" not in target.options or target.site is None:
        return planned
    run = evidence.trace.sites[target.site]
    if run.calls:
        return planned
    own = {name for number in run.modules for name in evidence.module(number).parameters}
    cut = own | set(planned.cut_parameters)
    return replace(planned, cut_parameters=tuple(n for n in evidence.trace.parameters if n in cut))


def planner_of(attempt: Attempt) -> Callable[[Attempt], Planned]:
    """Return the function that plans the one variant of a component that is no attention head."""
    if attempt.kind is AblationKind.SHRINK:
        return plan_shrink
    if attempt.target.path is not None:
        return plan_layer
    if WHICH in attempt.target.options:
        return plan_graph_layer
    if OPTION in attempt.target.options:
        return plan_option
    if attempt.target.modules:
        return plan_modules
    if PASSES in attempt.target.options:
        return plan_pass_through
    return _PLANNERS.get(attempt.target.component.kind, plan_call)
