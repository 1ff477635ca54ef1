"""Targets of ablation: every component of a model, from its source joined with one execution.

    targets = modules by construction + sites of the forward + inputs + parameters + marked lines

A target is a component with its places; users see the component. Components that cannot be
ablated are listed too, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from antifragile.ablate.discovery.calls import call_targets, one_unit_each
from antifragile.ablate.discovery.construction.flags import flag_targets
from antifragile.ablate.discovery.construction.library import library_targets
from antifragile.ablate.discovery.construction.options import keras_option_targets
from antifragile.ablate.discovery.construction.statements import statement_targets
from antifragile.ablate.discovery.evidence import Evidence
from antifragile.ablate.discovery.inputs import input_targets
from antifragile.ablate.discovery.marks import marked_targets
from antifragile.ablate.discovery.modules import module_targets
from antifragile.ablate.discovery.parameters import parameter_targets
from antifragile.ablate.discovery.sites import site_targets
from antifragile.ablate.records import Target


def find_targets(
    evidence: Evidence,
    functions: Sequence[str],
    groups: Mapping[str, str] | None = None,
    *,
    inputs_as_components: bool = False,
) -> list[Target]:
    """Find all targets, in the order of the source, and give each a name of its own.

    Args:
        evidence: Source and execution.
        functions: Patterns (``*`` and ``?``) of the functions whose calls are components.
        groups: Named groups of input features: name -> "input[first:last]".
        inputs_as_components: List the model's inputs too; naming groups of them asks for it.
    """
    asks_for_inputs = inputs_as_components or bool(groups)
    found = [
        *module_targets(evidence),
        *site_targets(evidence, functions),
        *call_targets(evidence),
        *(input_targets(evidence, groups) if asks_for_inputs else ()),
        *parameter_targets(evidence),
        *library_targets(evidence),
        *keras_option_targets(evidence),
        *statement_targets(evidence),
        *flag_targets(evidence),
        *marked_targets(evidence),
    ]
    return list(unique(list(one_unit_each(evidence, found))))


def unique(targets: Sequence[Target]) -> Iterator[Target]:
    """Tell targets of the same name apart: by their files, then the second gets #2."""
    files: dict[str, set[str]] = {}
    for target in targets:
        files.setdefault(target.component.name, set()).add(target.component.span.file)
    seen: Counter[str] = Counter()
    for target in targets:
        name = target.component.name
        if len(files[name]) > 1:
            name = f"{target.component.span.file.removesuffix('.py')}: {name}"
        seen[name] += 1
        yield target.named(f"{name} #{seen[name]}" if seen[name] > 1 else name)
