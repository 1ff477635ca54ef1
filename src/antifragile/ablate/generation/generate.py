"""Generation: one folder of the user's own files per component and kind of ablation.

Every folder is complete: it runs without this package. `baseline` holds the files unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from antifragile.ablate.generation.emit import BASELINE, changed_files, write_files, write_variant
from antifragile.ablate.generation.names import VariantKey, names_in
from antifragile.ablate.records import (
    AblationKind,
    AblationPlan,
    Component,
    ComponentKind,
    ComponentPlan,
    NoLegalEdit,
    Planned,
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
    return VariantWriter(plan, out).write(kinds)


def chosen_kinds(
    component: Component, kinds: Sequence[AblationKind] | None
) -> tuple[AblationKind, ...]:
    """Return the kinds to make of a component: those asked for, or its default."""
    if kinds is not None:
        return tuple(kind for kind in component.kinds if kind in kinds)
    return component.kinds if component.kind is ComponentKind.RESIDUAL else component.kinds[:1]


class VariantWriter:
    """Writes the variants of one plan; an edit that was made under another name is not made again.

    Args:
        plan: The components with their planned edits.
        out: The output folder.

    Attributes:
        second_names: Components whose default edit is another's, and the variant that makes it.
    """

    def __init__(self, plan: AblationPlan, out: Path) -> None:
        self.plan, self.out = plan, out
        self.second_names: dict[str, str] = {}
        self._names = names_in(plan)
        self._made: dict[tuple[tuple[str, bytes], ...], str] = {}  # changed files -> its variant
        self._tried: dict[str, int] = {}  # component -> number of its kinds that were written

    def write(self, kinds: Sequence[AblationKind] | None = None) -> tuple[Variant, ...]:
        """Write the baseline, and the variants of some kinds; see `generate`."""
        write_files(self.plan.project, self.out / BASELINE, {})
        found: list[Variant] = []
        for item in self.plan.plans:
            chosen = chosen_kinds(item.component, kinds)
            self._tried[item.component.name] = len(chosen)
            found += [variant for kind in chosen for variant in self._variants_of(item, kind)]
        return tuple(found)

    def write_next(self, components: Collection[str]) -> tuple[Variant, ...]:
        """Write the next kind of each of some components, where it has one with a legal edit."""
        found: list[Variant] = []
        for item in self.plan.plans:
            name, kinds = item.component.name, item.component.kinds
            place = self._tried[name]
            if name not in components or name in self.second_names or place >= len(kinds):
                continue
            if not isinstance(item.outcomes[kinds[place]], Refused):
                self._tried[name] = place + 1
                found += self._variants_of(item, kinds[place])
        return tuple(found)

    def _variants_of(self, item: ComponentPlan, kind: AblationKind) -> Iterator[Variant]:
        """Write the variants of one component and kind, or pass on why there is none."""
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
            try:
                yield self._write(item.component, kind, planned)
            except NoLegalEdit as reason:
                yield Variant(
                    component=item.component.name,
                    kind=kind,
                    folder="",
                    removes=item.component.removes.get(kind),
                    refusal=str(reason),
                    options=dict(planned.options),
                )

    def _write(self, component: Component, kind: AblationKind, planned: Planned) -> Variant:
        changed = changed_files(self.plan.project, planned.edits)
        contents = tuple(sorted((file, new) for file, (_, new) in changed.items()))
        words = " ".join([component.name, kind, *planned.options.values()])
        first = self._made.setdefault(contents, words)
        if first is not words:
            if kind is component.kinds[0]:
                self.second_names[component.name] = first
            raise NoLegalEdit(f"the same edit as {first}")
        name = self._names[VariantKey.of(component.name, kind, planned)]
        return write_variant(self.plan, component, kind, planned, changed, self.out / name)
