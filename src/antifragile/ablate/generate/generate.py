"""Generation: one folder of the user's own files per component and kind of ablation.

Every folder is complete: it runs without this package. `baseline` holds the files unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from antifragile.ablate.generate.emit import BASELINE, write_files, write_variant
from antifragile.ablate.records import (
    AblationKind,
    AblationPlan,
    Component,
    ComponentKind,
    ComponentPlan,
    Refused,
    Variant,
)


def generate(
    plan: AblationPlan, out: Path, kinds: Sequence[AblationKind] | None = None
) -> tuple[Variant, ...]:
    """Write OUT/baseline and one folder per component and kind.

    Args:
        plan: The components with their planned edits.
        out: The output folder.
        kinds: Kinds of ablation to make; the default one of each component when None (for a sum
            both, for attention every head).

    Returns:
        The variants, refused ones (without a folder) included.
    """
    write_files(plan.project, out / BASELINE, {})
    return tuple(
        variant
        for item in plan.plans
        for kind in chosen_kinds(item.component, kinds)
        for variant in variants_of(plan, item, kind, out)
    )


def chosen_kinds(
    component: Component, kinds: Sequence[AblationKind] | None
) -> tuple[AblationKind, ...]:
    """Return the kinds to make of a component: those asked for, or its default."""
    if kinds is not None:
        return tuple(kind for kind in component.kinds if kind in kinds)
    return component.kinds if component.kind is ComponentKind.RESIDUAL else component.kinds[:1]


def variants_of(
    plan: AblationPlan, item: ComponentPlan, kind: AblationKind, out: Path
) -> Iterator[Variant]:
    """Write the variants of one component and kind, or pass on the reason why there is none."""
    outcome = item.outcomes[kind]
    if isinstance(outcome, Refused):
        yield Variant(
            component=item.component.name,
            kind=kind,
            folder="",
            removes=item.component.removes.get(kind),
            refusal=outcome.reason,
        )
        return
    for planned in outcome:
        yield write_variant(plan, item.component, kind, planned, out)
