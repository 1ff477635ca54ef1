"""What planning hands to emission, and the few questions every kind of plan asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from antifragile.ablate.discover.evidence import Joined
from antifragile.ablate.frameworks.registry import framework_named
from antifragile.ablate.plan.catalogue import Template, fill, shape_relations, step_of
from antifragile.ablate.source.edits import Edit
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.target import Refused
from antifragile.ablate.trace.records import Run

Shape = tuple[int, ...]
_SPACES = {"torch": "torch", "nn": "torch.nn", "functional": "torch.nn.functional"}
_POOLS = {2: "adaptive_avg_pool1d", 3: "adaptive_avg_pool2d", 4: "adaptive_avg_pool3d"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The edits of one variant and what they promise."""

    edits: tuple[Edit, ...]
    substitute: str | None = None
    parameter_delta: int = 0
    cut_parameters: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


def spaces(joined: Joined, source: SourceFile) -> dict[str, str]:
    """Return how a file calls torch, torch.nn and torch.nn.functional."""
    framework = framework_named(joined.trace.framework)
    return framework.placeholders(joined.trace.aliases[source.file])


def needs_import(joined: Joined, source: SourceFile, text: str) -> bool:
    """Whether an inserted text names torch in a file that does not import it."""
    library = joined.trace.framework
    return f"{library}." in text and library not in joined.trace.aliases[source.file]


def with_import(joined: Joined, source: SourceFile, helper: str, *texts: str) -> str:
    """Put `import torch` above a helper where the file lacks it."""
    if any(needs_import(joined, source, text) for text in (helper, *texts)):
        line = f"import {joined.trace.framework}"
        return f"{line}\n\n\n{helper}" if helper else line
    return helper


def shape_pairs(runs: Sequence[Run], operand: str) -> list[tuple[Shape, Shape]]:
    """Return (input shape, output shape) of every distinct call, for one operand."""
    found: dict[tuple[Shape, Shape], None] = {}
    for run in runs:
        place = list(run.operands).index(operand) if operand in run.operands else 0
        for before, after in run.signatures:
            if place < len(before) and after:
                found[before[place], after[0]] = None
    return list(found)


def passed_operand(runs: Sequence[Run]) -> str:
    """Return the operand that takes a result's place: the first of its shape, else the first."""
    names = [name for name in runs[0].operands if "." not in name]
    if not names:
        raise Refused("it takes no tensor")
    for name in names:
        pairs = shape_pairs(runs, name)
        if pairs and "same" in shape_relations(pairs) and runs[0].operands[name].is_floating:
            return name
    return names[0]


def check_batch(joined: Joined, runs: Sequence[Run]) -> None:
    """Refuse what mixes samples when there is one sample, or when axis 0 is not the batch."""
    sizes = [value.shape[0] for value in joined.trace.inputs if value is not None and value.shape]
    if not sizes or sizes[0] < 2:
        raise Refused("the inputs hold one sample; mixing samples needs two")
    shapes = [shape for run in runs for _, after in run.signatures for shape in after]
    if any(not shape or shape[0] != sizes[0] for shape in shapes):
        raise Refused("its first axis is not the batch")


def check_numbers(runs: Sequence[Run], operand: str) -> None:
    """Refuse to pass on what is not of the result's kind."""
    for run in runs:
        before, after = run.operands.get(operand), run.outputs[0]
        if before is None or before.dtype != after.dtype:
            seen = "none" if before is None else before.dtype.removeprefix("torch.")
            made = after.dtype.removeprefix("torch.")
            raise Refused(f"it turns {seen} into {made}: its input cannot stand in")


def shape_words(pairs: Sequence[tuple[Shape, Shape]]) -> dict[str, str]:
    """Return the placeholders that depend on shapes: {stride}, {pool}, {pooled}."""
    before, after = pairs[0]
    steps = {
        tuple(step_of(old, new) for old, new in zip(one[2:], two[2:], strict=False))
        for one, two in pairs
    }
    words = {"stride": ", ".join(f"::{step}" for step in min(steps))}
    same_rank = all(len(one) == len(two) for one, two in pairs) and len(before) == len(after)
    words["pool"] = _POOLS.get(len(after), "") if same_rank else ""
    return words


def fill_template(template: Template, values: Mapping[str, str]) -> tuple[str, str]:
    """Return the replacement and the helper of a template."""
    helper = (
        fill(template.helper.strip("\n"), values, where=template.file) if template.helper else ""
    )
    return fill(template.replacement, values, where=template.file), helper
