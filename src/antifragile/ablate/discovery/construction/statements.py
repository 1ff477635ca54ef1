"""Components of a model's construction: statements that fill parameters, and tied weights."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace

from antifragile.ablate.discovery.evidence import Evidence, SeenSite, dotted
from antifragile.ablate.discovery.sites import target_at
from antifragile.ablate.records import AblationKind, ComponentKind, SiteKey, Target
from antifragile.ablate.trace.records import Initialisation

_KINDS = (AblationKind.DISABLE,)
_INITIALISERS = re.compile(r"init|reset|apply|zero")


def statement_targets(evidence: Evidence) -> Iterator[Target]:
    """Yield statements that fill parameters by hand, then statements that tie weights."""
    for key in sorted(evidence.trace.initialisations):
        yield from initialisation_target(evidence, key)
    for key in sorted(evidence.trace.parameter_reads):
        yield from tied_target(evidence, key)


def initialisation_target(evidence: Evidence, key: SiteKey) -> Iterator[Target]:
    """Yield `nn.init.zeros_(self.out.weight)`, `self.apply(self._init_weights)` and their like."""
    site, found = evidence.site(key), evidence.trace.initialisations[key]
    call = site.node
    if not isinstance(call, ast.Call) or not isinstance(site.source.parents[call], ast.Expr):
        return
    callee = site.source.source(call.func).rpartition(".")[2]
    is_direct = callee.endswith("_") and not callee.endswith("__")
    is_other = _INITIALISERS.search(callee) and not builds_modules(evidence, key)
    if not is_direct and (callee.endswith("__") or not is_other):
        return
    if not found.told and not found.needed:
        return  # it fills with the values that are there, or with others of the same distribution
    name = " ".join([site.label, *first_argument(site, call)])
    target = target_at(
        site,
        name,
        ComponentKind.INITIALISATION,
        _KINDS,
        reason=why_not_removed(found),
        is_left_out=bool(found.needed),
    )
    yield as_built(evidence, target, found.filled)


def first_argument(site: SeenSite, call: ast.Call) -> list[str]:
    """Return the words that tell calls of one function apart; a number tells nothing."""
    named = [item for item in call.args[:1] if not isinstance(item, ast.Constant)]
    return [word for item in named for word in site.source.source(item).split()]


def builds_modules(evidence: Evidence, key: SiteKey) -> bool:
    """Whether modules or parameters were made while a call was under way."""
    made = evidence.trace.parameter_sites
    return key in made or any(key in module.built_under for module in evidence.trace.modules)


def why_not_removed(found: Initialisation) -> str | None:
    """Return the reason why a call must stay, or None."""
    if found.needed:
        return f"without it {found.needed[0]} would hold whatever the memory holds"
    return None


def as_built(evidence: Evidence, target: Target, names: tuple[str, ...]) -> Target:
    """Describe a target that runs while the model is built, not in a forward."""
    run = evidence.trace.sites.get(target.site) if target.site else None
    sizes = evidence.trace.parameters
    component = replace(
        target.component,
        ran=True,
        calls=max(1, run.other_calls) if run else 1,
        parameters=sum(sizes[name] for name in dict.fromkeys(names) if name in sizes),
        input_shapes=(),
        output_shapes=(),
    )
    return replace(target, component=component)


def tied_target(evidence: Evidence, key: SiteKey) -> Iterator[Target]:
    """Yield `self.head.weight = self.embedding.weight`."""
    site, names = evidence.site(key), evidence.trace.parameter_reads[key]
    places = assigned_places(site)
    if places is None or len(names) < 2:
        return
    new = new_names(names, *places)
    reason = None if new else "which of the two names is the new one is not seen"
    title = f"{places[0]} = {places[1]}"
    target = target_at(site, title, ComponentKind.TIED, _KINDS, reason=reason)
    yield replace(
        as_built(evidence, target, names), options={"names": ",".join(new), "tied": names[0]}
    )


def assigned_places(site: SeenSite) -> tuple[str, str] | None:
    """Return the texts of both sides where a parameter is assigned to another attribute."""
    statement = site.source.parents[site.node]
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    target = statement.targets[0]
    if not isinstance(target, ast.Attribute):
        return None
    return ast.unparse(target), ast.unparse(site.node)


def new_names(names: tuple[str, ...], target: str, value: str) -> tuple[str, ...]:
    """Return the names that a tied parameter has on the assigned side."""

    def below(text: str) -> set[str]:
        path = dotted(text).partition(".")[2]
        return {name for name in names if name == path or name.endswith(f".{path}")}

    return tuple(name for name in names if name in below(target) - below(value))
