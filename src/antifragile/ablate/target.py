"""A component together with where it is in the source and in the execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from antifragile.ablate.records import Component
from antifragile.ablate.source.syntax import SiteKey


@dataclass(frozen=True, kw_only=True)
class Target:
    """What an edit needs to know beside the component that users see.

    `site` is the expression that is edited: a call, an operator, an attribute, or the construction
    of the modules in `modules`. `path` is set for one of several repeated layers: the attribute to
    replace after construction, e.g. "layer2[0]" on an object of class `owner`.
    """

    component: Component
    site: SiteKey | None = None
    sites: tuple[SiteKey, ...] = ()
    modules: tuple[int, ...] = ()
    operand: str | None = None
    owner: str | None = None
    path: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def named(self, name: str) -> Target:
        """Return the same target under another name."""
        return replace(self, component=replace(self.component, name=name))


class Refused(Exception):
    """No legal edit exists; the message is the reason, a clause without a full stop."""
