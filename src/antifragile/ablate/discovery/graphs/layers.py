"""Layers of functional models that no single place of the source builds: made in a loop or helper.

Each is a component of its own, cut where the finished model is made:

    return keras.Model(entry, x)  ->  return with_layer(keras.Model(entry, x), ..., index=3)

So are the layers of models that a library builds, such as `keras.applications.ResNet50()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from antifragile.ablate.discovery.evidence import Evidence
from antifragile.ablate.records import SiteKey
from antifragile.ablate.trace.records import Callee, ModuleRun

WHICH = "which"  # the option that says how the model finds the layer


def graph_layers(evidence: Evidence, numbers: Sequence[int]) -> Iterator[tuple[int, SiteKey]]:
    """Yield those of some layers that a functional model holds, and the place that builds it."""
    for number in numbers:
        module = evidence.module(number)
        site = graph_site(evidence, module)
        if site is not None and module.ran and not module.type.endswith(".InputLayer"):
            yield number, site


def library_layers(evidence: Evidence) -> list[int]:
    """Return the layers that no place of the source builds; `layers.add([a, b])` has its row."""
    called = {
        node
        for site in evidence.trace.sites.values()
        if site.callee is Callee.FUNCTION
        for made, _ in site.nodes
        for node in made
    }
    return [
        number
        for number, module in enumerate(evidence.trace.modules)
        if number > 0
        and not module.built_at
        and called.isdisjoint(node for made, _ in module.nodes for node in made)
    ]


def graph_site(evidence: Evidence, module: ModuleRun) -> SiteKey | None:
    """Return the place that builds the functional model around a layer, and no other model."""
    above = evidence.by_name.get(module.name.rpartition(".")[0])
    if above is None or WHICH not in module.settings:
        return None
    sites = evidence.module(above).built_at[:1]
    others = [one for one in evidence.trace.modules if one.built_at[:1] == sites]
    return sites[0] if sites and len(others) == 1 else None
