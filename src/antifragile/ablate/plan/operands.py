"""Operands and results of a place over all its calls: shapes, relations of shapes, checks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap
from operator import eq

from antifragile.ablate.discovery.evidence import Evidence
from antifragile.ablate.records import AblationKind, NoLegalEdit
from antifragile.ablate.trace.records import Run, Value

Shape = tuple[int, ...]
_FIRST = re.compile(r"conv|batchnorm|groupnorm|instancenorm|.*pool|upsample|interpolate")
_AVERAGES = re.compile(r"^mean$|avg_pool|AvgPool|AveragePooling")
_LAST = re.compile(r"linear|dense|layernorm|rmsnorm|embedding|multiheadattention|lstm|gru|rnn")
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
    """Return what holds of one operand over all calls.

    "masked" is the same shape, parts masked; "exposed" is the same shape, and what takes the
    result's place is written into in place while others use the operand.
    """
    relations = shape_relations(shape_pairs(runs, operand))
    values = [run.operands[operand] for run in runs if operand in run.operands]
    if not any(value.is_floating for run in runs for value in (*values, *run.outputs)):
        relations.discard("resized")  # whole numbers have no average
    if "same" not in relations:
        return relations
    is_masked = any(value.masked for value in values)
    masked = {"masked"} if is_masked else set()
    return relations | masked | ({"exposed"} if is_exposed(runs, operand) else set())


def is_exposed(runs: Sequence[Run], operand: str) -> bool:
    """Whether an operand must be handed on as a copy, since later code writes into it in place."""
    return any(operand in run.exposed for run in runs)


def can_reduce(one: Shape, two: Shape) -> bool:
    """Whether axes behind the first may be averaged away to lead from one shape to the other."""
    return 0 < len(two) < len(one) and two[0] == one[0]


def can_resize(one: Shape, two: Shape) -> bool:
    """Whether averages over each axis lead from one shape to the other: the first must stay.

    Another number of axes would put values on axes where they do not belong.
    """
    is_known = len(one) == len(two) and 2 <= len(one) <= len(POOLS) + 2
    return is_known and one[0] == two[0] and 0 not in (*one, *two)


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
    """Return the placeholders that depend on shapes, {stride} and {pool}; "" without a tensor."""
    if not pairs:
        return {"stride": "", "pool": ""}
    after = pairs[0][1]
    steps = {
        tuple(step_of(old, new) for old, new in zip(one[2:], two[2:], strict=False))
        for one, two in pairs
    }
    same_rank = all(len(one) == len(two) for one, two in pairs)
    is_single = all(size == 1 for _, two in pairs for size in two[2:])
    return {
        "stride": ", ".join(":1" if is_single else f"::{step}" for step in min(steps)),
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


def batch_axis(evidence: Evidence, values: Sequence[Value]) -> int:
    """Return the axis along which values hold samples, for edits that give one another's.

    Raises:
        NoLegalEdit: There is one sample, or no such axis is known.
    """
    axes = sample_axes(evidence, values)
    if evidence.trace.batch.size < 2:
        raise NoLegalEdit("the inputs hold one sample; mixing samples needs two")
    if not axes:
        raise NoLegalEdit("it holds nothing of single samples: no axis is the batch")
    return axes[0]


def sample_axes(evidence: Evidence, values: Sequence[Value]) -> tuple[int, ...]:
    """Return the axis of the samples that all values share, or none where they hold no samples.

    Raises:
        NoLegalEdit: It is not known.
    """
    if evidence.trace.batch.reason:
        raise NoLegalEdit(f"no batch axis was found: {evidence.trace.batch.reason}")
    found = {value.batch_axes for value in values}
    axes = found.pop() if len(found) == 1 else None
    if axes is None:
        raise NoLegalEdit("samples lie along no axis of their own there, or not the same each time")
    return axes


@dataclass(frozen=True, kw_only=True)
class Averaged:
    """The axes over which the mean of a value goes, never that of the samples; and in words."""

    axes: tuple[int, ...]
    words: str  # "positions (axes 2, 3), for each sample"


def averaged(
    evidence: Evidence, values: Sequence[Value], names: Sequence[str], *, is_pooled: bool = False
) -> Averaged:
    """Choose the axes of a mean: the positions of each channel, else the features of each sample.

    Args:
        evidence: Source and execution.
        values: The value in each of several places that change together.
        names: The functions or types of modules that made it, the last first: they tell which axis
            holds channels.
        is_pooled: Whether its mean over positions is taken anyway: then it is over the features.

    Raises:
        NoLegalEdit: The axis of the samples is not known, or the mean is the value itself.
    """
    taken = sample_axes(evidence, values)
    value = values[0]
    if not all(item.is_floating for item in values):
        raise NoLegalEdit("the mean of whole numbers is none")
    free = [axis for axis in range(len(value.shape)) if axis not in taken]
    decisive = telling(names)
    channels = channel_axis(evidence, free, value, decisive)
    axes = tuple(axis for axis in free if axis != channels and value.shape[axis] > 1)
    over, features = "positions", tuple(axis for axis in free if axis == channels)
    if not axes or (is_pooled and features and value.shape[channels] > 1):
        over, axes = "features", tuple(axis for axis in features if value.shape[axis] > 1)
    if not axes:
        raise NoLegalEdit("it is one number for each sample: its mean is itself")
    if over == "positions" and any(item.hides_positions for item in values):
        raise NoLegalEdit("a mask hides some of its positions: its mean would count the padding")
    place = f"{'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"
    is_known = decisive or evidence.trace.framework == "keras" or len(free) < 2
    words = f"{over} ({place})" if is_known else f"{place} (taken to be {over})"
    # along one axis positions may be times, of which a causal model must not see later ones
    words += ", later ones included" if over == "positions" and len(axes) == 1 else ""
    return Averaged(axes=axes, words=f"{words}{', for each sample' if taken else ''}")


def telling(names: Sequence[str]) -> str:
    """Return the first of some functions or types of modules that tells where channels lie."""
    kinds = [name.rpartition(".")[2].replace("_", "").lower() for name in names]
    return next((kind for kind in kinds if _FIRST.match(kind) or _LAST.match(kind)), "")


def channel_axis(evidence: Evidence, free: Sequence[int], value: Value, decisive: str) -> int:
    """Return the axis that holds channels: what made the value says so, else its rank does.

    In torch convolutions, poolings and norms of images have channels behind the samples, linear
    layers have them last; what only computes number by number says nothing. Values of four axes
    have them behind the samples in models of images, all else has them last. In Keras they are
    last.
    """
    if not free:
        return 0
    is_first = bool(_FIRST.match(decisive))
    if not decisive and len(value.shape) >= 4:
        types = (module.type for module in evidence.trace.modules if module.ran)
        functions = (site.name for site in evidence.trace.sites.values() if site.ran)
        is_first = any(_FIRST.match(telling([name])) for name in (*types, *functions))
    return free[0] if is_first and evidence.trace.framework == "torch" else free[-1]


def words_of_results(
    evidence: Evidence, kind: AblationKind, runs: Sequence[Run], names: Sequence[str]
) -> dict[str, str]:
    """Return the placeholders of `batch_words` for the results of places that change together.

    Args:
        evidence: Source and execution.
        kind: The kind of ablation.
        runs: The places.
        names: The functions or types of modules there.
    """
    if kind not in (AblationKind.MEAN, AblationKind.SHUFFLE):
        return {}
    shapes = [after[0] for run in runs for _, after in run.signatures if after]
    made = [value.made_by for run in runs for value in run.operands.values()]
    makers = [evidence.module(number).type for number in made if number is not None]
    values = [run.outputs[0] for run in runs if run.outputs]
    is_pooled = is_averaged_next(evidence, runs)
    return batch_words(evidence, kind, values, shapes, [*names, *makers], is_pooled=is_pooled)


def types_within(evidence: Evidence, numbers: Sequence[int]) -> list[str]:
    """Return the types of modules and of those inside them that ran, the last to be made first.

    They tell of a stack of convolutions that its results have channels behind the samples.
    """
    found = list[str]()
    for number in numbers:
        inside = [evidence.module(one) for one in evidence.below([number]) if one != number]
        ran = sorted((item for item in inside if item.ran), key=lambda item: item.first_seen)
        modules = [evidence.module(number), *reversed(ran)]
        found += [module.type.replace("Parametrized", "") for module in modules]
    return found


def is_averaged_next(evidence: Evidence, runs: Sequence[Run]) -> bool:
    """Whether the mean of what modules return is all that goes on: another mean changes nothing."""
    modules, sites = evidence.trace.modules, evidence.trace.sites.values()
    numbers = {place for place, module in enumerate(modules) if any(module is run for run in runs)}
    users = [(site.name, site.operands) for site in sites]
    users += [(module.type, module.operands) for module in modules]
    names = [
        name
        for name, operands in users
        if any(value.made_by in numbers for value in operands.values())
    ]
    return bool(names) and all(_AVERAGES.search(name) for name in names)


def words_of_operand(
    evidence: Evidence, kind: AblationKind, run: Run, operand: str
) -> dict[str, str]:
    """Return the placeholders of `batch_words` for one operand of a place."""
    value = run.operands[operand]
    shapes = [before for before, _ in shape_pairs([run], operand)]
    names = [] if value.made_by is None else [evidence.module(value.made_by).type]
    return batch_words(evidence, kind, [value], shapes, names)


def batch_words(
    evidence: Evidence,
    kind: AblationKind,
    values: Sequence[Value],
    shapes: Sequence[Shape],
    names: Sequence[str],
    *,
    is_pooled: bool = False,
) -> dict[str, str]:
    """Return the placeholders of templates that mix samples, {batch}, or average, {axes} {over}.

    Args:
        evidence: Source and execution.
        kind: The kind of ablation.
        values: The value in each of the places that change together.
        shapes: Its shapes in all calls.
        names: The operations or modules that made it, as in `averaged`.
        is_pooled: Whether its mean over positions is taken anyway.
    """
    if kind is AblationKind.SHUFFLE:
        return {"batch": str(batch_axis(evidence, values))}
    mean = averaged(evidence, values, names, is_pooled=is_pooled)
    if len({len(shape) for shape in shapes}) > 1:
        raise NoLegalEdit("it has another number of axes from call to call")
    return {"axes": str(mean.axes), "over": mean.words}


def check_numbers(runs: Sequence[Run], operand: str) -> None:
    """Refuse to pass on an operand of another type than the result."""
    for run in runs:
        before, after = run.operands.get(operand), run.outputs[0]
        if before is None or before.dtype != after.dtype:
            seen = "none" if before is None else before.dtype.removeprefix("torch.")
            made = after.dtype.removeprefix("torch.")
            raise NoLegalEdit(f"it turns {seen} into {made}: its input cannot stand in")
