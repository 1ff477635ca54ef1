"""Units of any torch model: found by watching its data flow, then proved one and all.

    table = find_units(model, images[:4])
    for group in table.groups: print(group.layer, group.kind, len(group.units))

Source: PSA paper, section II.F (hidden, output) for what is zeroed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import cached

from antifragile.errors import AntifragileError, UsageError
from antifragile.model.units.grouping import (
    Influences,
    UnitCandidate,
    candidates,
    columns_by_layer,
)
from antifragile.model.units.influence import Reach, find_influences
from antifragile.model.units.records import (
    Part,
    RefusedUnits,
    Unit,
    UnitGroup,
    UnitKind,
    UnitTable,
)
from antifragile.model.units.sums import Sums
from antifragile.model.units.verify import CutOff, failing
from antifragile.model.units.watching.draws import Change
from antifragile.model.units.watching.prepare import (
    Inputs,
    Runner,
    few_samples,
    outputs_of,
    quiet,
    seed_generators,
    unwrap,
)
from antifragile.model.units.watching.runs import WatchedModel
from antifragile.model.units.watching.sources import ParameterStorage, Recording

_LEAK = "random values on what comes in still changed the model's outputs after the cut"
_MANY_DRAWS = 12
_WATCHED_SAMPLES = 2  # with opposite signs; every sample costs time in every run
VERIFIED_SAMPLES = 4


def find_units(model: nn.Module, inputs: object) -> UnitTable:
    """Find and verify the units of a model.

    The model runs many times in evaluation mode on a few samples; its weights, buffers and random
    generators are afterwards as before.

    Args:
        model: Any torch module; wrappers by ``torch.compile`` and ``DistributedDataParallel`` are
            looked through, and names are those of the module inside.
        inputs: Arguments of a forward call: a tensor, a sequence of positional arguments or a
            mapping of keywords.

    Raises:
        UsageError: The model cannot be run on the inputs, has no parameters, or is sharded.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"the model is a {type(model).__name__}, expected a torch.nn.Module.")
    model = unwrap(model)
    if lazy := [name for name, value in model.named_parameters() if is_lazy(value)]:
        raise UsageError(f"{lazy[0]!r} has no shape yet; call the model once before.")
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    if not parameters:
        raise UsageError("the model has no parameters, and so no units.")
    given = few_samples(model, Inputs.of(inputs), VERIFIED_SAMPLES)
    with quiet(model):
        with _told("the model cannot be run on these inputs"):
            _runner(model, given)()
        with _told("the model fails when its layers' results are replaced by random numbers"):
            table = _find(model, parameters, given, n_draws=None)
            if any(_LEAK in row.reason for row in table.refused):  # perhaps a dependence was missed
                table = _find(model, parameters, given, n_draws=_MANY_DRAWS)
    return table


@contextmanager
def _told(problem: str) -> Iterator[None]:
    """Raise an error of the user's model as a sentence."""
    try:
        yield
    except AntifragileError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())
        raise UsageError(f"{problem} ({type(error).__name__}: {words:.200}).") from error


def _find(
    model: nn.Module, parameters: dict[str, Tensor], inputs: Inputs, *, n_draws: int | None
) -> UnitTable:
    runner = _runner(model, few_samples(model, inputs, _WATCHED_SAMPLES))
    with cached():  # weights computed from parameters are computed once, and known as such
        watched = WatchedModel(ParameterStorage(model), runner, n_draws)
        seen = _look(model, watched)
    runner = _runner(model, inputs)
    check = CutOff(parameters, runner, watched.recording.sources)
    groups: list[UnitGroup] = []
    refused = list(seen.refused)
    for group in seen.groups:
        kept, reason = (_apart if group.kind is UnitKind.OUTPUT else _verified)(group, check)
        if reason:
            refused += [RefusedUnits(layer, reason) for layer in group.writers]
        if kept:
            groups.append(kept)
    return UnitTable(tuple(groups), tuple(refused))


def _look(model: nn.Module, watched: WatchedModel) -> UnitTable:
    """Find the units by watching alone; they are still to be verified."""
    recording = watched.recording

    def reach_of(source: int) -> Reach:
        return lambda channels: watched.reached(Change(source, channels))

    influences = find_influences(recording, reach_of)
    found, refused = candidates(recording, influences)
    sums = Sums(watched, influences)
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    groups: list[UnitGroup] = []
    for members in _by_layers(found, recording):
        group = _group(members, recording, sums)
        if reason := _why_not(members[0], recording, sums, frozen):
            refused += [RefusedUnits(layer, reason) for layer in group.writers]
        else:
            groups.append(group)
    groups += _output_groups(recording, influences, reach_of)
    return UnitTable(tuple(groups), (*refused, *_never_watched(model, recording)))


def _never_watched(model: nn.Module, recording: Recording) -> Iterator[RefusedUnits]:
    """Name the layers that were not called, or not as a layer that reads data."""
    storage = ParameterStorage(model)
    named = {source.name for source in recording.sources if source.is_layer}
    named |= {source.name for source in recording.sources if source.is_convolution}
    between = {
        name: recording.operators[number]._schema.name
        for number, passing in recording.passing.items()
        for name, _ in passing.values()
    }
    for name, value in model.named_parameters():
        layer = storage.layer_name(name, is_embedding=False)
        if value.dim() < 2 or "weight" not in name[len(layer) :] or layer in named:
            continue
        operator = between.get(name)
        if operator is None:
            read = name in recording.taken
            reason = "it reads parameters alone" if read else "it is not called on these inputs"
        elif "norm" in operator:
            continue
        else:
            reason = f"its weight is read by {operator}, which is not known as a layer"
        named.add(layer)
        yield RefusedUnits(layer, reason)


def _runner(model: nn.Module, inputs: Inputs) -> Runner:
    """Run the model on fresh copies of the inputs, which it may change, with the same draws."""

    def run() -> list[Tensor]:
        seed_generators()
        own = inputs.copied()
        return [item.detach().clone() for item in outputs_of(model(*own.args, **own.kwargs))]

    return run


def _by_layers(found: Sequence[UnitCandidate], recording: Recording) -> list[list[UnitCandidate]]:
    """Group candidates that have the same writing and reading layers."""

    def key(candidate: UnitCandidate) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return (
            tuple(sorted(candidate.writers)),
            tuple(sorted(columns_by_layer(candidate.columns, recording))),
        )

    ordered = sorted(found, key=lambda candidate: (key(candidate), min(candidate.writers.items())))
    return [list(members) for _, members in groupby(ordered, key=key)]


def _group(members: Sequence[UnitCandidate], recording: Recording, sums: Sums) -> UnitGroup:
    first = members[0]
    writers = [index for index in sorted(first.writers) if recording.sources[index].is_layer]
    readers = sorted(columns_by_layer(first.columns, recording))
    layer = recording.sources[writers[0]].name
    units = tuple(_unit(layer, number, member, recording) for number, member in enumerate(members))
    return UnitGroup(
        layer=layer,
        kind=_kind(first, recording, sums),
        units=units,
        writers=tuple(recording.sources[index].name for index in writers),
        readers=tuple(recording.sources[index].name for index in readers),
    )


def _unit(layer: str, number: int, member: UnitCandidate, recording: Recording) -> Unit:
    incoming = tuple(
        Part(view, channels, is_row=True)
        for source, channels in member.writers.items()
        for view in recording.sources[source].rows
    )
    columns = columns_by_layer(member.columns, recording)
    outgoing = tuple(
        Part(view, tuple(numbers), is_row=False)
        for source, numbers in columns.items()
        if (view := recording.sources[source].columns) is not None
    )
    return Unit(layer, number, incoming, outgoing)


def _kind(member: UnitCandidate, recording: Recording, sums: Sums) -> UnitKind:
    sources = {i: recording.sources[i] for i in member.writers if recording.sources[i].is_layer}
    if sums.is_residual(member):
        return UnitKind.RESIDUAL
    columns = columns_by_layer(member.columns, recording)
    several = any(len(member.writers[index]) > 1 for index in sources)
    written = [*sources.values(), *([recording.sources[i] for i in columns] if several else [])]
    if any(source.is_convolution or source.is_embedding for source in written):
        return UnitKind.CHANNEL
    wide = any(len(numbers) > 1 for numbers in columns.values())
    return UnitKind.HEAD if several and wide else UnitKind.NEURON


def _verified(group: UnitGroup, check: CutOff) -> tuple[UnitGroup | None, str]:
    """Return the group's verified units, and the reason why some or all are refused, or ""."""
    kept, reason = _apart(group, check)
    if kept is None or reason:
        return kept, reason
    wrong = failing(group.units, check)
    return _without(group, wrong, _LEAK)


def _apart(group: UnitGroup, check: CutOff) -> tuple[UnitGroup | None, str]:
    """Return the units whose entries nothing else reads, and why the others are refused, or ""."""
    read: dict[str, bool] = {}

    def is_apart(units: Sequence[Unit]) -> bool:
        name = check.reads_elsewhere(units)
        if name is not None:
            read[name] = True
        return name is None

    wrong = failing(group.units, is_apart)
    return _without(
        group, wrong, f"its weights are tied: {' and '.join(read)} also reads what would be zeroed"
    )


def _without(group: UnitGroup, wrong: Sequence[Unit], reason: str) -> tuple[UnitGroup | None, str]:
    """Take wrong units out of a group; None if none is left, and no reason if none is wrong."""
    if not wrong:
        return group, ""
    kept = tuple(unit for unit in group.units if unit not in wrong)
    if not kept:
        return None, reason
    some = UnitGroup(group.layer, group.kind, kept, group.writers, group.readers)
    return some, f"{len(wrong)} of its {len(group.units)} units: {reason}"


def _why_not(member: UnitCandidate, recording: Recording, sums: Sums, frozen: set[str]) -> str:
    """Reason why a candidate cannot be ablated, whatever its numbers are, or ""."""
    for index in columns_by_layer(member.columns, recording):
        source = recording.sources[index]
        if source.columns is None:
            return f"{source.name} reads it, and cannot be cut: {source.why_no_columns}"
    if (name := sums.mixed_beside(member)) is not None:
        return (
            f"{name} adds to the same stream, and its channels are mixed, as by a layer norm, "
            "before another layer reads them, so that none can be cut off alone"
        )
    views = [view for index in member.writers for view in recording.sources[index].rows]
    for index in member.writers:
        if recording.sources[index].why_no_rows:
            return f"it cannot be zeroed: {recording.sources[index].why_no_rows}"
    for index in columns_by_layer(member.columns, recording):
        if (view := recording.sources[index].columns) is not None:
            views.append(view)
    if held := sorted({view.parameter for view in views} & frozen):
        return f"{held[0]} is frozen (requires_grad is False)"
    return ""


def _output_groups(
    recording: Recording, influences: Influences, reach_of: Callable[[int], Reach]
) -> list[UnitGroup]:
    """Layers that the model's outputs show directly, and that no layer reads."""
    groups = []
    shown = [i for i, found in influences.items() if found.reaches_output and not found.blocks]
    for index in shown:
        source = recording.sources[index]
        if not source.is_layer or source.why_no_rows:
            continue
        alike = [
            other
            for other in shown
            if not recording.sources[other].is_layer
            and _show_the_same(source.n_outputs, reach_of(index), recording, other, reach_of)
        ]
        views = [view for i in (index, *alike) for view in recording.sources[i].rows]
        units = tuple(
            Unit(
                source.name,
                channel,
                tuple(Part(view, (channel,), is_row=True) for view in views),
                (),
            )
            for channel in range(source.n_outputs)
        )
        groups.append(UnitGroup(source.name, UnitKind.OUTPUT, units, (source.name,), ()))
    return groups


def _show_the_same(
    n_outputs: int,
    layer: Reach,
    recording: Recording,
    other: int,
    reach_of: Callable[[int], Reach],
) -> bool:
    """Whether a parameter's channels, as a bias added apart, show where a layer's channels do."""
    if recording.sources[other].n_outputs != n_outputs:
        return False
    beside = reach_of(other)
    return all(
        bool((layer([channel]).outputs == beside([channel]).outputs).all())
        for channel in sorted({0, n_outputs // 2, n_outputs - 1})
    )
