"""Operands and results of a place over all its calls: shapes, relations of shapes, checks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from operator import eq

from antifragile.ablate.discover.evidence import Evidence
from antifragile.ablate.records import NoLegalEdit
from antifragile.ablate.trace.records import Run

Shape = tuple[int, ...]
POOLS = {2: "adaptive_avg_pool1d", 3: "adaptive_avg_pool2d", 4: "adaptive_avg_pool3d"}


def shape_pairs(runs: Sequence[Run], operand: str) -> list[tuple[Shape, Shape]]:
    """Return (input shape, output shape) of every distinct call, for one operand."""
    found: dict[tuple[Shape, Shape], None] = {}
    for run in runs:
        place = list(run.operands).index(operand) if operand in run.operands else 0
        for before, after in run.signatures:
            if place < len(before) and after:
                found[before[place], after[0]] = None
    return list(found)


def shape_relations(pairs: Sequence[tuple[Shape, Shape]]) -> set[str]:
    """Return the relations of output shapes to input shapes that hold over all calls.

    Args:
        pairs: (input shape, output shape) of every distinct call.
    """
    relations = {"same": eq, "resized": can_resize, "pooled": can_thin, "reduced": can_reduce}
    return {"any"} | {
        name for name, holds in relations.items() if pairs and all(starmap(holds, pairs))
    }


def relations_of(runs: Sequence[Run], operand: str) -> set[str]:
    """Return what holds of one operand over all calls; "masked": the same shape, parts masked."""
    relations = shape_relations(shape_pairs(runs, operand))
    values = [run.operands[operand] for run in runs if operand in run.operands]
    is_masked = "same" in relations and any(value.masked for value in values)
    return relations | ({"masked"} if is_masked else set())


def can_reduce(one: Shape, two: Shape) -> bool:
    """Whether axes behind the first may be averaged away to lead from one shape to the other."""
    return 0 < len(two) < len(one) and two[0] == one[0]


def can_resize(one: Shape, two: Shape) -> bool:
    """Whether plain averages lead from one shape to the other: the first axis must stay."""
    return len(one) >= 2 and len(two) >= 2 and one[0] == two[0] and 0 not in (*one, *two)


def can_thin(one: Shape, two: Shape) -> bool:
    """Whether every n-th position leads from one shape to the other, axes 0 and 1 untouched."""
    if len(one) != len(two) or len(one) < 3 or one[:2] != two[:2]:
        return False
    return all(
        -(-old // step_of(old, new)) == new for old, new in zip(one[2:], two[2:], strict=True)
    )


def step_of(old: int, new: int) -> int:
    """Return the stride that thins `old` positions out to `new`."""
    return max(1, -(-old // max(1, new)))


def shape_words(pairs: Sequence[tuple[Shape, Shape]]) -> dict[str, str]:
    """Return the placeholders that depend on shapes: {stride}, {pool}."""
    after = pairs[0][1]
    steps = {
        tuple(step_of(old, new) for old, new in zip(one[2:], two[2:], strict=False))
        for one, two in pairs
    }
    same_rank = all(len(one) == len(two) for one, two in pairs)
    return {
        "stride": ", ".join(f"::{step}" for step in min(steps)),
        "pool": POOLS.get(len(after), "") if same_rank else "",
    }


def passed_operand(runs: Sequence[Run]) -> str:
    """Return the operand that takes a result's place: the first of its shape, else the first."""
    names = [name for name in runs[0].operands if "." not in name]
    if not names:
        raise NoLegalEdit("it takes no tensor")
    for name in names:
        pairs = shape_pairs(runs, name)
        if pairs and "same" in shape_relations(pairs) and runs[0].operands[name].is_floating:
            return name
    return names[0]


def check_batch(evidence: Evidence, runs: Sequence[Run]) -> None:
    """Refuse to mix samples when there is one sample, or when axis 0 is not the batch."""
    sizes = [value.shape[0] for value in evidence.trace.inputs if value is not None and value.shape]
    if not sizes or sizes[0] < 2:
        raise NoLegalEdit("the inputs hold one sample; mixing samples needs two")
    shapes = [shape for run in runs for _, after in run.signatures for shape in after]
    if any(not shape or shape[0] != sizes[0] for shape in shapes):
        raise NoLegalEdit("its first axis is not the batch")


def check_numbers(runs: Sequence[Run], operand: str) -> None:
    """Refuse to pass on an operand of another type than the result."""
    for run in runs:
        before, after = run.operands.get(operand), run.outputs[0]
        if before is None or before.dtype != after.dtype:
            seen = "none" if before is None else before.dtype.removeprefix("torch.")
            made = after.dtype.removeprefix("torch.")
            raise NoLegalEdit(f"it turns {seen} into {made}: its input cannot stand in")
