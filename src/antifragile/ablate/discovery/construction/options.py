"""Options of Keras layers that are components: activations, regularizers, attention heads.

Dense(8, activation="relu")          the nonlinearity, replaced by "linear"
Dense(8, kernel_regularizer="l2")    the penalty, replaced by None
MultiHeadAttention(num_heads=4, ...) each head
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from antifragile.ablate.discovery.construction.library import part_target
from antifragile.ablate.discovery.construction.names import group_name, layer_paths
from antifragile.ablate.discovery.evidence import Evidence, SeenSite
from antifragile.ablate.discovery.graphs.layers import WHICH, graph_layers
from antifragile.ablate.records import AblationKind, ComponentKind, Target
from antifragile.ablate.trace.records import ModuleRun

OPTION, NEW = "option", "new"  # the argument that goes, and the text that takes its place
HEADS_OF = "heads of"  # the layer whose construction is wrapped to silence a head
_POSITIONS = {"Dense": ("units", "activation")}  # what is often given without its name
_CHANGEABLE = re.compile(r"Dense|Conv")  # layers whose activation is an attribute to be set
_NOTHING = (None, "linear")


def keras_option_targets(evidence: Evidence) -> Iterator[Target]:
    """Yield the options that are given where layers of Keras are built."""
    if evidence.trace.framework != "keras":
        return
    for key, numbers in evidence.groups.items():
        modules = [evidence.module(number) for number in numbers]
        site = evidence.site(key)
        is_layer = all(module.type.startswith("keras.src.layers.") for module in modules)
        if not is_layer or not isinstance(site.node, ast.Call):
            continue
        if not any(module.ran for module in modules):
            continue
        title = group_name(evidence, site, numbers, layer_paths(evidence, site, numbers))
        for target in (*option_targets(site, modules), *head_targets(site, modules)):
            yield target.named(f"{title} {target.component.name}")
        yield from layer_option_targets(evidence, site, numbers)


def layer_option_targets(
    evidence: Evidence, site: SeenSite, numbers: Sequence[int]
) -> Iterator[Target]:
    """Yield the activation or heads of each layer that a loop makes, cut in the finished model."""
    for number, key in graph_layers(evidence, numbers) if len(numbers) > 1 else ():
        module = evidence.module(number)
        for target in (*option_targets(site, [module]), *head_targets(site, [module])):
            is_changed_later = target.options.get(OPTION) == "activation" and bool(
                _CHANGEABLE.search(module.type)
            )
            if is_changed_later or HEADS_OF in target.options:
                options = {**target.options, WHICH: str(module.settings[WHICH])}
                title = f"{module.title} {target.component.name}"
                yield replace(target, site=key, options=options).named(title)


def option_targets(site: SeenSite, modules: Sequence[ModuleRun]) -> Iterator[Target]:
    """Yield activations and regularizers."""
    layer = modules[0].type.rpartition(".")[2]
    for name, value in given_options(site.node, layer).items():
        if isinstance(value, ast.Constant) and value.value in _NOTHING:
            continue
        if name == "activation" and layer != "Activation":
            target = part_target(site, modules, name, AblationKind.IDENTITY)
            yield replace(target, options={OPTION: name, NEW: '"linear"'})
        elif name.endswith("_regularizer"):
            target = part_target(site, modules, name, AblationKind.DISABLE)
            yield replace(target, options={OPTION: name, NEW: "None"})


def given_options(node: ast.AST, layer: str) -> dict[str, ast.expr]:
    """Return the options of a construction by name, those given by position included."""
    assert isinstance(node, ast.Call)
    positions = zip(_POSITIONS.get(layer, ()), node.args, strict=False)
    return dict(positions) | {item.arg: item.value for item in node.keywords if item.arg}


def head_targets(site: SeenSite, modules: Sequence[ModuleRun]) -> Iterator[Target]:
    """Yield the heads of attention layers."""
    if all(module.type.endswith(".MultiHeadAttention") for module in modules):
        heads = min(int(str(module.settings.get("num_heads", 1))) for module in modules)
        target = part_target(site, modules, "heads", AblationKind.DROP_HEAD)
        kinds = target.component.kinds if heads > 1 else ()
        reason = None if heads > 1 else "one head only"
        component = replace(target.component, kind=ComponentKind.HEADS, kinds=kinds, reason=reason)
        yield replace(target, component=component, options={"heads": str(heads), HEADS_OF: "layer"})
