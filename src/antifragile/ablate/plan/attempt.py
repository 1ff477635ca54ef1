"""One attempt to plan an edit: what is to be ablated, in which way, and what is known about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from antifragile.ablate.discovery.evidence import Evidence, SeenSite
from antifragile.ablate.plan.catalogue import Template
from antifragile.ablate.records import AblationKind, Target
from antifragile.ablate.trace.records import ModuleRun


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A target and a kind of ablation, with the evidence and the templates to plan it by."""

    evidence: Evidence
    target: Target
    kind: AblationKind
    templates: Sequence[Template]

    @cached_property
    def site(self) -> SeenSite:
        """The place that is edited."""
        assert self.target.site is not None
        return self.evidence.site(self.target.site)

    @cached_property
    def modules(self) -> list[ModuleRun]:
        """The modules that are ablated."""
        return [self.evidence.module(number) for number in self.target.modules]

    @property
    def runs(self) -> list[ModuleRun]:
        """Those of the modules that ran."""
        return [module for module in self.modules if module.ran]
