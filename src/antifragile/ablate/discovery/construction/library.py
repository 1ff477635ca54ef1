"""Parts of a library's transformer layers, which no source file of the user builds or calls.

A layer may be a prototype that `nn.TransformerEncoder(layer, 6)` copies: its parts are those of all
copies, and the edit is made where the prototype is built.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from antifragile.ablate.discovery.construction.names import group_name, layer_paths
from antifragile.ablate.discovery.evidence import Evidence, SeenSite
from antifragile.ablate.discovery.sites import target_at
from antifragile.ablate.records import AblationKind, ComponentKind, SiteKey, Target
from antifragile.ablate.trace.records import ModuleRun

_ENCODER, _DECODER = "TransformerEncoderLayer", "TransformerDecoderLayer"
_STACKS = ("TransformerEncoder", "TransformerDecoder")
_PARTS: Mapping[str, Mapping[str, str]] = {  # part -> the module whose result is all of it
    _ENCODER: {
        "norm1": "norm1",
        "norm2": "norm2",
        "self-attention": "dropout1",
        "feed-forward": "dropout2",
    },
    _DECODER: {
        "norm1": "norm1",
        "norm2": "norm2",
        "norm3": "norm3",
        "self-attention": "dropout1",
        "cross-attention": "dropout2",
        "feed-forward": "dropout3",
    },
}
_NORMS = ("norm1", "norm2", "norm3")
_ARGUMENTS: Mapping[str, Mapping[str, int]] = {  # argument -> its position
    _ENCODER: {"dropout": 3, "activation": 4},
    _DECODER: {"dropout": 3, "activation": 4},
    "Transformer": {"dropout": 5, "activation": 6},
    "MultiheadAttention": {"dropout": 2},
}


def library_targets(evidence: Evidence) -> Iterator[Target]:
    """Yield the parts of library layers: norms, attention, feed-forward, dropout, activation."""
    prototypes = copies_of_prototypes(evidence)
    for key, built in evidence.groups.items():
        layers = prototypes.get(key) or [number for number in built if is_used(evidence, number)]
        modules = [evidence.module(number) for number in layers]
        types = {module.type for module in modules}
        if len(types) != 1 or not isinstance(evidence.site(key).node, ast.Call):
            continue
        module_type, site = types.pop(), evidence.site(key)
        if not module_type.startswith("torch.nn."):
            continue
        layer, title = module_type.rpartition(".")[2], f"{site.function}:{site.label}"
        if key not in prototypes:
            title = group_name(evidence, site, layers, layer_paths(evidence, site, layers))
        for target in (
            *part_targets(evidence, site, layer, modules),
            *argument_targets(evidence, site, layer, modules),
        ):
            yield target.named(f"{title} {target.component.name}")


def is_used(evidence: Evidence, number: int) -> bool:
    """Whether a module belongs to the model."""
    module = evidence.module(number)
    return bool(module.names) and module.ran


def copies_of_prototypes(evidence: Evidence) -> dict[SiteKey, list[int]]:
    """Return the layers that a stack made by copying, by the place that built the original."""
    found: dict[SiteKey, list[int]] = {}
    for key, built in evidence.groups.items():
        modules = [evidence.module(number) for number in built]
        is_stack = all(module.type.rpartition(".")[2] in _STACKS for module in modules)
        prototype = prototype_site(evidence, key) if is_stack else None
        if prototype is not None:
            found.setdefault(prototype, []).extend(
                number
                for name, number in evidence.by_name.items()
                if any(is_layer_of(module, name) for module in modules)
                and "[" not in name
                and is_used(evidence, number)
            )
    return found


def is_layer_of(stack: ModuleRun, name: str) -> bool:
    """Whether a name is that of one layer of a stack."""
    above, _, index = name.rpartition(".")
    return index.isdigit() and any(above == f"{one}.layers" for one in stack.names)


def prototype_site(evidence: Evidence, key: SiteKey) -> SiteKey | None:
    """Return the place that built the first argument of `nn.TransformerEncoder(layer, 6)`."""
    source, call = evidence.site(key).source, evidence.site(key).node
    if not isinstance(call, ast.Call):
        return None
    named = [item.value for item in call.keywords if item.arg in ("encoder_layer", "decoder_layer")]
    given: ast.AST | None = next(iter([*named, *call.args]), None)
    if isinstance(given, ast.Name | ast.Attribute):
        scope, text = source.function_of(call) or source.tree, ast.unparse(given)
        assigned = [
            node.value
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign) and text in map(ast.unparse, node.targets)
        ]
        given = assigned[0] if len(assigned) == 1 else None
    number = source.number(given) if given is not None else None
    return None if number is None else (key[0], number)


def part_targets(
    evidence: Evidence, site: SeenSite, layer: str, modules: Sequence[ModuleRun]
) -> Iterator[Target]:
    """Yield norms, which may pass their input on, and branches, whose result may be zero."""
    for part, inner in _PARTS.get(layer, {}).items():
        numbers = [evidence.by_name.get(f"{module.name}.{inner}") for module in modules]
        if not all(number is not None and evidence.module(number).ran for number in numbers):
            continue
        kind = AblationKind.IDENTITY if part in _NORMS else AblationKind.ZERO
        target = part_target(site, modules, part, kind)
        inside = ",".join(map(str, numbers))
        yield replace(target, options={"layer": layer, "inner": inner, "numbers": inside})


def argument_targets(
    evidence: Evidence, site: SeenSite, layer: str, modules: Sequence[ModuleRun]
) -> Iterator[Target]:
    """Yield dropout and activation, which are arguments of the construction."""
    for argument, place in _ARGUMENTS.get(layer, {}).items():
        if argument == "dropout" and not any(drops(evidence, module) for module in modules):
            continue
        target = part_target(site, modules, argument, AblationKind.IDENTITY)
        yield replace(target, options={"argument": argument, "place": str(place)})


def drops(evidence: Evidence, module: ModuleRun) -> bool:
    """Whether a layer has dropout, as an option of its own or in a part of it."""
    inside = [
        evidence.module(number)
        for name, number in evidence.by_name.items()
        if name.startswith(f"{module.name}.")
    ]
    chances = [one.settings.get("p") for one in inside if one.type.endswith(".Dropout")]
    return any(chances) or bool(module.settings.get("dropout"))


def part_target(
    site: SeenSite, modules: Sequence[ModuleRun], name: str, kind: AblationKind
) -> Target:
    """Make the target of one part, or one option, of some layers of a library."""
    target = target_at(site, name, ComponentKind.PART, (kind,))
    component = replace(
        target.component,
        name=name,
        ran=True,
        calls=sum(module.calls or module.eval_calls for module in modules),
        modules=tuple(module.name for module in modules),
        input_shapes=(),
        output_shapes=(),
    )
    return replace(target, component=component)
