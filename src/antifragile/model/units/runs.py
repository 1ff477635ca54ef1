"""Watched runs of a model: the first, and comparisons of later ones with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from antifragile.errors import UsageError
from antifragile.model.units.prepare import Runner
from antifragile.model.units.sources import ChannelSource, Mixing, ParameterStorage, Recording
from antifragile.model.units.views import WeightView
from antifragile.model.units.watch import Change, OtherPath, WatchedRun


def first_run(storage: ParameterStorage, runner: Runner) -> Recording:
    """Run the model and record its layers."""
    watch = WatchedRun(storage)
    with watch:
        outputs = runner()
    watch.finish(outputs)
    _add_parameters_between(watch.recording, storage)
    if not watch.recording.n_layers:
        raise UsageError(
            "no layer of the model was seen on these inputs; give a model that reads its inputs by "
            "linear layers, convolutions, attention, recurrent layers or embeddings."
        )
    return watch.recording


def _add_parameters_between(recording: Recording, storage: ParameterStorage) -> None:
    """Add the parameters between layers as sources, one for every dimension that has channels."""
    names = dict.fromkeys(name for named in recording.passing.values() for name in named.values())
    for name in names:
        value = storage.parameters[name]
        dimensions = [d for d in range(value.dim()) if value.shape[d] > 1] or [0]
        for dimension in dimensions if value.dim() else []:
            others = [d for d in range(value.dim()) if d != dimension]
            size = (1, value.shape[dimension], 1, *(value.shape[d] for d in others))
            stride = (0, value.stride(dimension), 0, *(value.stride(d) for d in others))
            recording.sources.append(
                ChannelSource(
                    name=name,
                    rows=(WeightView(name, size, stride),),
                    columns=None,
                    n_outputs=value.shape[dimension],
                    n_inputs=0,
                    is_layer=False,
                )
            )


@dataclass(frozen=True)
class Reached:
    """Elements that a change reaches without passing through another layer.

    Args:
        columns: A flag for every column of every layer (see `Recording.starts`).
        outputs: A flag for every element of the model's outputs.
    """

    columns: np.ndarray
    outputs: np.ndarray


def reached(
    storage: ParameterStorage, runner: Runner, recording: Recording, change: Change
) -> Reached:
    """Run the model with changed channels and compare what every layer reads.

    Raises:
        OtherPath: The model made other calls than in its first run.
    """
    before = recording
    if change.level is not None:
        still = Change(change.source, (), change.level)
        before = _compare_run(storage, runner, recording, still)
    after = _compare_run(storage, runner, recording, change)
    starts = recording.starts
    columns = np.zeros(starts[-1], dtype=bool)
    calls = list(recording.mixing.values())
    for mixing, old, new in zip(calls, before.read, after.read, strict=True):
        if old is None or new is None:
            continue
        columns[starts[mixing.source] : starts[mixing.source + 1]] |= _changed(old, new, mixing)
    pairs = list(zip(before.outputs, after.outputs, strict=True))
    if any(old.shape != new.shape for old, new in pairs):
        raise OtherPath
    flags = [_differs(old, new).flatten().cpu().numpy() for old, new in pairs]
    return Reached(columns, np.concatenate(flags) if flags else np.zeros(0, dtype=bool))


def _compare_run(
    storage: ParameterStorage, runner: Runner, recording: Recording, change: Change
) -> Recording:
    watch = WatchedRun(storage, recording, change)
    with watch:
        outputs = runner()
    watch.finish(outputs)
    return Recording(read=watch.read, outputs=outputs)


def _changed(old: Tensor, new: Tensor, mixing: Mixing) -> np.ndarray:
    """Flag the columns of a call's input that differ between two runs."""
    if old.shape != new.shape:
        raise OtherPath
    differs = _differs(old, new)
    kept = {dimension % old.dim() for dimension in mixing.read}
    others = [dimension for dimension in range(old.dim()) if dimension not in kept]
    flags = differs.amax(dim=others) if others else differs
    return flags.flatten().cpu().numpy()


def _differs(old: Tensor, new: Tensor) -> Tensor:
    """Flag the elements that differ; what is no number in both is the same."""
    return ~((old == new) | ((old != old) & (new != new)))
