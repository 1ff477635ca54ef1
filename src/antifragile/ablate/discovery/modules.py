"""Modules as components: one per place of construction, and one per layer where layers repeat.

A module belongs to the outermost call that returned it as new. All modules of one such call are one
component; when they are different layers of one stack (`[Block() for _ in range(12)]`) each layer
is a component of its own besides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from antifragile.ablate.discovery.arithmetic import SUMS, merged_items
from antifragile.ablate.discovery.construction.names import (
    Layers,
    at_a_glance,
    common_path,
    group_name,
    layer_paths,
    stack_name,
)
from antifragile.ablate.discovery.evidence import Evidence, SeenSite, index_path
from antifragile.ablate.discovery.graphs.layers import WHICH, graph_layers, library_layers
from antifragile.ablate.discovery.sites import target_at
from antifragile.ablate.records import AblationKind, Component, ComponentKind, SiteKey, Target
from antifragile.ablate.trace.records import Callee, ModuleRun

_LIBRARIES = ("torch", "keras", "einops")  # what a class is called says what it does there
_EMBEDDINGS = ("Embedding", "EmbeddingBag")
_MOVERS = ("Flatten", "Unflatten", "Rearrange", "PixelShuffle", "PixelUnshuffle", "ChannelShuffle")
_NOISE = re.compile("Drop|StochasticDepth|Noise")  # in the name of a class
_MODULE_KINDS = (
    AblationKind.IDENTITY,
    AblationKind.ZERO,
    AblationKind.MEAN,
    AblationKind.SHUFFLE,
    AblationKind.FREEZE,
)
_SUMMED_KINDS = (AblationKind.ZERO, *(kind for kind in _MODULE_KINDS if kind != "zero"))


def module_targets(evidence: Evidence) -> Iterator[Target]:
    """Yield the modules of a model as components, in the order of their construction."""
    for key, numbers in evidence.groups.items():
        modules = [evidence.module(number) for number in numbers]
        if any(module.is_container for module in modules):
            yield from container_targets(evidence, key, numbers)
            continue
        if not any(module.names or module.ran for module in modules):
            continue  # belongs to another model in the same file
        if all(is_cut_by_operand(evidence, module) for module in modules):
            continue
        site = evidence.site(key)
        single = list(graph_layers(evidence, numbers)) if len(numbers) > 1 else []
        paths = {} if single else layer_paths(evidence, site, numbers)
        yield group_target(evidence, site, numbers, paths)
        yield from (graph_target(evidence, *layer) for layer in single)
        if len(paths) > 1:
            for (owner, path), layer in paths.items():
                yield layer_target(evidence, site, owner, path, layer)
        yield from use_targets(evidence, numbers)
    inside = list(graph_layers(evidence, library_layers(evidence)))
    yield from (graph_target(evidence, *layer) for layer in inside)
    yield from stray_targets(evidence)


def container_targets(evidence: Evidence, key: SiteKey, numbers: Sequence[int]) -> Iterator[Target]:
    """Yield a stack whose items are lists of layers, `[[mixer, mlp], ...]`: it can be shortened."""
    site = evidence.site(key)
    paths = layer_paths(evidence, site, numbers)
    if len({path.rpartition(".")[2] for _, path in paths}) < 2:
        return  # one list within each item of a longer list, which holds other layers beside it
    calls = sum(calls_inside(evidence, number) for number in numbers)
    if not calls or not all(evidence.module(n).is_container for n in numbers):
        return
    name = stack_name(evidence, site, numbers, paths)
    kinds = (AblationKind.SHRINK,)
    target = module_target(evidence, site, numbers, name, ComponentKind.REPEATED, kinds)
    component = replace(target.component, ran=True, calls=calls, kinds=kinds, reason=None)
    yield replace(target, component=component)


def is_cut_by_operand(evidence: Evidence, module: ModuleRun) -> bool:
    """Whether a layer only merges tensors that have names where it is called: they are the rows."""
    sites = [evidence.site(key) for key in module.used_at]
    return bool(sites) and all(
        site.run.callee is Callee.MODULE and site.run.name and merged_items(site.node)
        for site in sites
    )


def calls_inside(evidence: Evidence, number: int) -> int:
    """Return how often the layers of a list are called, the busiest of them."""
    modules = map(evidence.module, evidence.below([number]))
    return max(module.calls or module.eval_calls for module in modules)


def group_target(
    evidence: Evidence, site: SeenSite, numbers: Sequence[int], paths: Layers
) -> Target:
    """Make the component of all modules that one call builds."""
    name, kind = group_name(evidence, site, numbers, paths), kind_of(evidence.module(numbers[0]))
    kinds: tuple[AblationKind, ...] = _MODULE_KINDS
    if len(paths) > 1:
        name, kind = stack_name(evidence, site, numbers, paths), ComponentKind.REPEATED
        kinds = (AblationKind.IDENTITY, AblationKind.SHRINK, *_MODULE_KINDS[1:])
    elif kind is ComponentKind.EMBEDDING:
        kinds = (*_MODULE_KINDS[1:], AblationKind.IDENTITY)
    return module_target(evidence, site, numbers, name, kind, kinds)


def layer_target(
    evidence: Evidence, site: SeenSite, owner: str, path: str, numbers: Sequence[int]
) -> Target:
    """Make the component of one layer of a stack."""
    kinds = kinds_of_layer(evidence, numbers)
    name = f"{owner}.{index_path(path)}"
    target = module_target(evidence, site, numbers, name, ComponentKind.REPEATED, kinds)
    return replace(target, owner=owner, path=path)


def graph_target(evidence: Evidence, number: int, key: SiteKey) -> Target:
    """Make the component of one layer of a functional model, cut where the model is made."""
    module = evidence.module(number)
    kinds = kinds_of_layer(evidence, [number])
    name, kind = module.title or index_path(module.name), kind_of(module)
    target = module_target(evidence, evidence.site(key), [number], name, kind, kinds)
    if module.built_at:
        built = evidence.site(module.built_at[-1])
        span = built.source.span(built.node)
        target = replace(target, component=replace(target.component, span=span))
    return replace(target, options={WHICH: str(module.settings[WHICH])})


def module_target(
    evidence: Evidence,
    site: SeenSite,
    numbers: Sequence[int],
    name: str,
    kind: ComponentKind,
    kinds: Sequence[AblationKind],
) -> Target:
    """Make the component of some modules from the facts about them."""
    modules = [evidence.module(number) for number in numbers]
    first = next((module for module in modules if module.ran), modules[0])
    reason, is_whole = why_not(modules), is_all_of_it(evidence, modules)
    parameters = dict.fromkeys(name for module in modules for name in module.parameters)
    if reason is None and is_whole:
        reason = "it is the whole model: it holds all that learns and makes the output"
    component = Component(
        name=name,
        kind=kind,
        span=site.source.span(site.node),
        ran=any(module.ran for module in modules),
        calls=sum(module.calls or module.eval_calls for module in modules),
        parameters=sum(evidence.trace.parameters[name] for name in parameters),
        input_shapes=tuple(value.shape for value in first.operands.values()),
        output_shapes=tuple(value.shape for value in first.outputs),
        modules=tuple(name for module in modules for name in module.names),
        kinds=() if reason else tuple(k for k in kinds if parameters or k != "freeze"),
        reason=reason,
        is_left_out=is_whole or (reason is not None and reason == why_nothing(modules)),
    )
    return Target(component=component, site=site.key, modules=tuple(numbers))


def is_all_of_it(evidence: Evidence, modules: Sequence[ModuleRun]) -> bool:
    """Whether a module with parts holds every parameter, and its results are the model's own."""
    whole, parameters = evidence.module(0), evidence.trace.parameters
    return (
        len(modules) == 1
        and bool(modules[0].children and modules[0].nodes and parameters)
        and [made for made, _ in modules[0].nodes] == [made for made, _ in whole.nodes]
        and set(modules[0].parameters) >= parameters.keys()
    )


def kind_of(module: ModuleRun) -> ComponentKind:
    """Return the kind of component that a module is."""
    if short_type(module) in _EMBEDDINGS:
        return ComponentKind.EMBEDDING
    return ComponentKind.BLOCK if module.children else ComponentKind.MODULE


def short_type(module: ModuleRun) -> str:
    """Return the class name of a module."""
    return module.type.rpartition(".")[2]


def is_of_library(module: ModuleRun) -> bool:
    """Whether a module's class is a library's own; a user's class may do anything."""
    return module.type.partition(".")[0] in _LIBRARIES


def why_not(modules: Sequence[ModuleRun]) -> str | None:
    """Return the reason why modules cannot be ablated, or None."""
    if not any(module.ran for module in modules):
        return "never called in the traced forward"
    reason = why_nothing(modules)
    if reason is None and not any(module.outputs for module in modules):
        return "returns no tensor"
    return reason


def why_nothing(modules: Sequence[ModuleRun]) -> str | None:
    """Return the reason why there is nothing to take away of modules that ran, or None."""
    first = modules[0]
    is_dropout = "Dropout" in first.type and is_of_library(first)
    if is_dropout and all(module.settings.get("p") == 0 for module in modules):
        return "dropout with probability 0: it changes nothing"
    if all(module.passes_input or not module.ran for module in modules):
        if all(short_type(module) == "Sequential" and not module.children for module in modules):
            return "an empty nn.Sequential: nothing to take away"
        return "already an identity: nothing to take away"
    if all(short_type(module) in _MOVERS and is_of_library(module) for module in modules):
        return "only moves values to another shape: nothing to take away"
    return None


def kinds_of_layer(evidence: Evidence, numbers: Sequence[int]) -> tuple[AblationKind, ...]:
    """Return the kinds for one layer: zero first where it is a branch; noise is switched off."""
    is_noise = all(_NOISE.search(short_type(evidence.module(number))) for number in numbers)
    return _SUMMED_KINDS if is_summed(evidence, numbers) and not is_noise else _MODULE_KINDS


def is_summed(evidence: Evidence, numbers: Sequence[int]) -> bool:
    """Whether the results of modules are added to something: zero removes them then."""
    makers = {
        evidence.module(value.made_by).built_at
        for site in evidence.ran_sites()
        if site.run.name in SUMS
        for value in site.run.operands.values()
        if value.made_by is not None
    }
    return not makers.isdisjoint({evidence.module(number).built_at for number in numbers} - {()})


def use_targets(evidence: Evidence, numbers: Sequence[int]) -> Iterator[Target]:
    """Yield each use of modules that are called from more than one place."""
    uses = dict.fromkeys(
        site
        for number in numbers
        for site in evidence.module(number).used_at
        if site in evidence.trace.sites
        and number in evidence.trace.sites[site].modules
        and not evidence.site(site).is_inherited
    )
    if len(uses) < 2:
        return
    for place, site in enumerate(map(evidence.site, uses), start=1):
        kind, name = kind_of(evidence.module(numbers[0])), f"{site.label} (use {place})"
        if others := [number for number in site.run.modules if number not in numbers]:
            if min(others) < min(numbers):
                continue  # listed with the first of them
            name = f"{site.label} ({', '.join(names_of(evidence, site.run.modules))})"
        target = target_at(site, name, kind, _MODULE_KINDS[:4], options={"use": str(place)})
        modules = tuple(evidence.module(number).name for number in site.run.modules)
        yield replace(target, component=replace(target.component, modules=modules))


def names_of(evidence: Evidence, numbers: Sequence[int]) -> list[str]:
    """Name the modules that one place calls, in the order in which they were built."""
    names = (evidence.module(number).name for number in sorted(numbers))
    return [index_path(name) for name in names if name]


def stray_targets(evidence: Evidence) -> Iterator[Target]:
    """Yield calls of modules that were built outside the files that may be edited."""
    sites = dict.fromkeys(
        key
        for number, module in enumerate(evidence.trace.modules)
        if number > 0 and not module.built_at and module.ran
        for key in module.used_at
        if number in evidence.site(key).run.modules
    )  # others are called inside a library's module, which is a component itself
    yield from (stray_target(evidence, evidence.site(key)) for key in sites)


def stray_target(evidence: Evidence, site: SeenSite) -> Target:
    """Make the component of one call and of all modules that are called there."""
    modules = [evidence.module(number) for number in site.run.modules]
    parameters = dict.fromkeys(name for module in modules for name in module.parameters)
    names = list(dict.fromkeys(name for module in modules for name in module.names))
    places, words = list(modules[0].used_at), common_path(names) if names else ""
    name = index_path(words) if names else short_type(modules[0])
    if words.startswith("*"):  # "one.act" and "two.act" have no first word in common
        name = at_a_glance(names)
    if any(module.built_at for module in modules):
        name = f"{site.function}:{site.label}"
    if len(places) > 1:
        name = f"{name} (use {places.index(site.key) + 1})"
    component = Component(
        name=name,
        kind=kind_of(modules[0]),
        span=site.source.span(site.node),
        ran=True,
        calls=site.run.calls,
        parameters=sum(evidence.trace.parameters[name] for name in parameters),
        modules=tuple(name for module in modules for name in module.names),
        kinds=_MODULE_KINDS[:4],
    )
    return Target(component=component, site=site.key, options={"use": "1"})
