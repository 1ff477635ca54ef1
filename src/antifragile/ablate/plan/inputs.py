"""Edits of inputs: lines at the top of the model's forward."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from antifragile.ablate.discovery.evidence import Evidence
from antifragile.ablate.discovery.inputs import given_inputs, method_of
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.names import library_names, with_helper
from antifragile.ablate.plan.operands import averaged, batch_axis
from antifragile.ablate.records import AblationKind, NoLegalEdit, Planned
from antifragile.ablate.source.edits import first_statement, insert_before
from antifragile.ablate.trace.records import Value

_NEIGHBOURS = "every sample gets what belongs to its neighbour in the batch"


def plan_input(attempt: Attempt) -> Planned:
    """Change an input, or a part of it, in the first line of the model's forward."""
    evidence, target, kind = attempt.evidence, attempt.target, attempt.kind
    name = target.options["input"]
    source, node = evidence.classes[target.options["class"]]
    function = method_of(node, "forward")
    assert function is not None
    value = given_inputs(evidence)[name]
    assert value is not None
    is_whole = "axis" not in target.options
    if kind is AblationKind.ZERO and is_whole and len(evidence.trace.inputs) < 2:
        raise NoLegalEdit("it is the only input: the output would no longer depend on any")
    names = library_names(evidence, source)
    if is_whole:
        line, words = whole_input(evidence, kind, name, value, names)
    else:
        line, words = features(evidence, kind, name, value, target.options)
    edit = insert_before(source, first_statement(function), line)
    edits = with_helper(evidence, source, node, edit)
    return Planned(edits=edits, substitute=words)


def whole_input(
    evidence: Evidence, kind: AblationKind, name: str, value: Value, names: Mapping[str, str]
) -> tuple[str, str | None]:
    """Return the line that ablates an input, and what stands there then in words."""
    if kind is AblationKind.ZERO:
        return f"{name} = {names['torch']}.zeros_like({name})", None
    if kind is AblationKind.SHUFFLE:
        return f"{name} = {name}.roll(1, {batch_axis(evidence, [value])})", _NEIGHBOURS
    mean = averaged(evidence, [value], [])
    line = f"{name} = {name}.mean(dim={mean.axes}, keepdim=True).expand_as({name}).clone()"
    return line, f"its mean over {mean.words}"


def features(
    evidence: Evidence, kind: AblationKind, name: str, value: Value, options: Mapping[str, str]
) -> tuple[str, str | None]:
    """Return the lines that ablate some features of an input, and what stands there then."""
    axis, first, last = (int(options[key]) for key in ("axis", "first", "last"))
    is_one = last == first + 1
    part = f"{name}[{':, ' * axis}{first if is_one else f'{first}:{last}'}]"
    copy, words = f"{name} = {name}.clone()\n", None
    if kind is AblationKind.ZERO:
        return f"{copy}{part} = 0", None
    if kind is AblationKind.SHUFFLE:
        batch = batch_axis(evidence, [value])
        return f"{copy}{part} = {part}.roll(1, {batch - (is_one and axis < batch)})", _NEIGHBOURS
    if positions := positions_of(value, axis):
        dims = tuple(item - (is_one and item > axis) for item in positions)
        place = f"({'axis' if len(positions) == 1 else 'axes'} {', '.join(map(str, positions))})"
        line = f"{copy}{part} = {part}.mean(dim={dims}, keepdim=True)"
        each = ", for each sample" if value.batch_axes else ""
        return line, f"its mean over positions {place}{each}"
    means = given_means(value, axis, first, last)
    texts = [f"{number:.6g}" for number in means]
    words = f"its mean over the given inputs, {', '.join(texts)}"
    if is_one:
        return f"{copy}{part} = {texts[0]}", words
    tail = (
        f".view(-1{', 1' * (len(value.shape) - axis - 1)})" if axis < len(value.shape) - 1 else ""
    )
    return f"{copy}{part} = {name}.new_tensor([{', '.join(texts)}]){tail}", words


def positions_of(value: Value, axis: int) -> tuple[int, ...]:
    """Return the axes along which an input has positions, beside those of features and samples.

    None where a sample holds one number of each feature, or where the samples' axis is not known.
    """
    if not value.is_floating or value.batch_axes is None:
        return ()
    held = (axis, *value.batch_axes)
    return tuple(item for item, size in enumerate(value.shape) if item not in held and size > 1)


def given_means(value: Value, axis: int, first: int, last: int) -> tuple[float, ...]:
    """Return the means of some features over the inputs of the traced run.

    Raises:
        NoLegalEdit: They were not noted, or are no numbers.
    """
    if not value.is_floating:
        raise NoLegalEdit("the mean of whole numbers is none")
    means = value.means[axis][first:last] if axis < len(value.means) else ()
    if len(means) != last - first:
        raise NoLegalEdit("the means of so many features are not noted")
    if not all(map(isfinite, means)):
        raise NoLegalEdit("its mean over the given inputs is no number")
    return means
