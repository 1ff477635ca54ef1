"""Hooks of a module, which act at each of its calls and belong to none of them."""

from __future__ import annotations

from antifragile.ablate.discover.evidence import Evidence
from antifragile.ablate.plan.catalogue import Template
from antifragile.ablate.records import NoLegalEdit
from antifragile.ablate.trace.records import SiteRun


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
