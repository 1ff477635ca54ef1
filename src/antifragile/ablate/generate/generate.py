"""Generation: one folder of the user's own files per component and kind of ablation.

Every folder is complete: it runs without this package. `baseline` holds the files unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from antifragile.ablate.discover.discover import targets_of
from antifragile.ablate.discover.evidence import Joined
from antifragile.ablate.generate.emit import write_baseline, write_variant
from antifragile.ablate.plan.catalogue import Template, load_templates
from antifragile.ablate.plan.choose import plan
from antifragile.ablate.records import AblationKind, Component, ComponentKind, Project, Variant
from antifragile.ablate.target import Refused, Target
from antifragile.ablate.trace.records import Trace
from antifragile.errors import SpecError, nearest


def generate(
    project: Project,
    components: Sequence[Component],
    out: Path,
    kinds: Sequence[AblationKind] | None = None,
    *,
    trace: Trace,
    templates: Path | None = None,
    groups: Mapping[str, str] | None = None,
) -> tuple[Variant, ...]:
    """Write OUT/baseline and one folder per component and kind.

    Args:
        project: The project.
        components: What `discover` found, or a part of it.
        out: The output folder.
        kinds: Which kinds of ablation; the default one of each component when None (for a sum
            both, for attention every head).
        trace: What `trace` returned: shapes and gradients decide which edit is legal.
        templates: A folder of further edit templates (`*.toml`).
        groups: Named groups of input features, as given to `discover`.

    Returns:
        The variants, refused ones (without a folder) included.
    """
    joined = Joined(project, trace)
    catalogue = load_templates(templates, trace.framework)
    targets = {target.component.name: target for target in targets_of(joined, catalogue, groups)}
    write_baseline(project, out)
    found: list[Variant] = []
    for component in components:
        if component.name not in targets:
            raise SpecError(f"no component {component.name!r}; {nearest(component.name, targets)}")
        target = targets[component.name]
        for kind in chosen_kinds(target.component, kinds):
            found += variants_of(joined, target, kind, catalogue, out)
    return tuple(found)


def chosen_kinds(
    component: Component, kinds: Sequence[AblationKind] | None
) -> tuple[AblationKind, ...]:
    """Return the kinds to make of a component: those asked for, or its default."""
    if kinds is not None:
        return tuple(kind for kind in component.kinds if kind in kinds)
    both = component.kind is ComponentKind.RESIDUAL
    return component.kinds if both else component.kinds[:1]


def variants_of(
    joined: Joined,
    target: Target,
    kind: AblationKind,
    templates: Sequence[Template],
    out: Path,
) -> Iterator[Variant]:
    """Write the variants of one component and kind, or say why there is none."""
    name = target.component.name
    try:
        plans = plan(joined, target, kind, templates)
    except Refused as refusal:
        yield Variant(component=name, kind=kind, folder="", refusal=str(refusal))
        return
    for item in plans:
        yield write_variant(joined.project, joined.trace.sha256, name, kind, item, out)
