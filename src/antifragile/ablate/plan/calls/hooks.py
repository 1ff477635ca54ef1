"""Hooks of a module, which act at each of its calls and belong to none of them."""

from __future__ import annotations

from collections.abc import Iterable

from antifragile.ablate.discovery.evidence import Evidence
from antifragile.ablate.plan.catalogue import Template
from antifragile.ablate.records import NoLegalEdit
from antifragile.ablate.trace.records import ModuleRun, SiteRun


def check_no_hooks(evidence: Evidence, run: SiteRun, template: Template) -> None:
    """Refuse to take out one call of a module whose hooks would go with it, unnamed."""
    if "{call}" in template.replacement:  # the call stays, and its hooks with it
        return
    for module in map(evidence.module, run.modules):
        if module.has_hooks:
            raise NoLegalEdit(
                f"{module.name or 'the layer'} has hooks, which this call runs: they would go "
                "with it"
            )


def check_no_early_hooks(modules: Iterable[ModuleRun]) -> None:
    """Refuse to replace modules once they are built: hooks given until then would go with them."""
    for module in modules:
        if module.has_hooks:
            raise NoLegalEdit(
                f"{module.name or 'the layer'} has hooks, which may be there before the line that "
                "replaces it: they would go with it"
            )
