"""Discovery: every ablatable component of a model, from its source joined with one execution.

    targets = modules by construction + sites of the forward + inputs + parameters + marked lines

A target is a component with its place; users see the component. What cannot be ablated is listed
too, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from antifragile.ablate.discover.evidence import Joined
from antifragile.ablate.discover.inputs import input_targets, marked_targets, parameter_targets
from antifragile.ablate.discover.modules import module_targets
from antifragile.ablate.discover.sites import site_targets
from antifragile.ablate.plan.catalogue import Template, load_templates
from antifragile.ablate.plan.choose import plan
from antifragile.ablate.records import AblationKind, Component, Project
from antifragile.ablate.target import Refused, Target
from antifragile.ablate.trace.records import Trace


def discover(
    project: Project,
    trace: Trace,
    *,
    templates: Path | None = None,
    groups: Mapping[str, str] | None = None,
) -> tuple[Component, ...]:
    """List every component of the model, ablatable or not.

    Args:
        project: The model's files and functions.
        trace: What `trace(project)` returned.
        templates: A folder of further edit templates (`*.toml`).
        groups: Named groups of input features: name -> "input[first:last]".

    Returns:
        Components in the order of the source; `kinds` begins with the ablation made by default.
    """
    joined = Joined(project, trace)
    catalogue = load_templates(templates, trace.framework)
    return tuple(target.component for target in targets_of(joined, catalogue, groups))


def targets_of(
    joined: Joined, templates: Sequence[Template], groups: Mapping[str, str] | None = None
) -> list[Target]:
    """Find all targets, give each a name of its own and put its legal ablations first."""
    found = [
        *module_targets(joined),
        *site_targets(joined, templates),
        *input_targets(joined, groups),
        *parameter_targets(joined),
        *marked_targets(joined),
    ]
    return [with_legal_kinds_first(joined, target, templates) for target in unique(found)]


def unique(targets: Sequence[Target]) -> Iterator[Target]:
    """Number targets of the same name: the second gets #2."""
    total = Counter(target.component.name for target in targets)
    seen: Counter[str] = Counter()
    for target in targets:
        name = target.component.name
        seen[name] += 1
        is_later = total[name] > 1 and seen[name] > 1
        yield target.named(f"{name} #{seen[name]}") if is_later else target


def with_legal_kinds_first(joined: Joined, target: Target, templates: Sequence[Template]) -> Target:
    """Sort a component's kinds: those that can be made, then those that would be refused."""
    kinds = target.component.kinds
    legal = [kind for kind in kinds if is_legal(joined, target, kind, templates)]
    ordered = (*legal, *(kind for kind in kinds if kind not in legal))
    return replace(target, component=replace(target.component, kinds=ordered))


def is_legal(
    joined: Joined, target: Target, kind: AblationKind, templates: Sequence[Template]
) -> bool:
    """Whether an edit can be planned."""
    try:
        plan(joined, target, kind, templates)
    except Refused:
        return False
    return True
