"""The runs of one model: the first finds its layers, later ones compare what changes reach.

In every run the result of each mixing call (see `calls`) is replaced by random numbers that depend
on the call alone, and so is every parameter used elsewhere (norms, position embeddings, depthwise
filters). What a layer reads then depends on the replaced results only through what lies between
two layers: norms, activations, products, pooling, reshaping, attention. Changing some output
channels of one layer, and looking which input columns of which layers change, shows that
dependence, whatever the code between is. Several draws are compared, since a single one can hide
a dependence behind a ReLU that is off at all places.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from antifragile.errors import UsageError
from antifragile.model.units.views import WeightView
from antifragile.model.units.watching.calls import by_channel
from antifragile.model.units.watching.draws import NO_CHANGE, Change, Draw
from antifragile.model.units.watching.prepare import Runner
from antifragile.model.units.watching.record import RecordedRun
from antifragile.model.units.watching.replay import OtherPath, ReplayedRun
from antifragile.model.units.watching.sources import (
    ChannelSource,
    Mixing,
    ParameterStorage,
    Recording,
)

_FEW = 20_000  # numbers read by all layers; with more, a dependence shows in fewer draws


@dataclass(frozen=True)
class _Observed:
    """Inputs of the layers in a run, in order of their calls, and the model's outputs."""

    read: list[Tensor | None]
    outputs: list[Tensor]


@dataclass(frozen=True)
class Reached:
    """Elements that a change reaches without passing through another layer.

    Args:
        columns: A flag for every column of every layer (see `Recording.starts`).
        outputs: A flag for every element of the model's outputs.
    """

    columns: np.ndarray
    outputs: np.ndarray


class WatchedModel:
    """A model whose runs are watched.

    Args:
        storage: Its parameters.
        runner: Runs it on its inputs.
        n_draws: Number of draws; None for few.

    Raises:
        UsageError: It has no layer.
    """

    def __init__(
        self, storage: ParameterStorage, runner: Runner, n_draws: int | None = None
    ) -> None:
        self._runner = runner
        first = Draw(0, storage)
        run = RecordedRun(storage, first)
        with run:
            runner()
        self.recording = run.recording
        if not self.recording.n_layers:
            raise UsageError(
                "no layer of the model was seen on these inputs; give a model that reads its "
                "inputs by linear layers, convolutions, attention, recurrent layers or embeddings."
            )
        _add_parameters_between(self.recording, storage)
        unchanged = self._observe(first, NO_CHANGE)
        n_read = sum(item.numel() for item in unchanged.read if item is not None)
        self._draws = [(first, unchanged)]
        for seed in range(1, n_draws or (4 if n_read < _FEW else 2)):
            draw = Draw(seed, storage)
            with suppress(OtherPath):  # numbers that lead another way tell nothing of this one
                self._draws.append((draw, self._observe(draw, NO_CHANGE)))

    def reached(self, change: Change) -> Reached:
        """Run the model with changed channels and compare what every layer reads.

        Raises:
            OtherPath: The model made other calls than in its first run.
        """
        found = [self._compared(draw, before, change) for draw, before in self._draws]
        return Reached(
            np.logical_or.reduce([one.columns for one in found]),
            np.logical_or.reduce([one.outputs for one in found]),
        )

    def _compared(self, draw: Draw, before: _Observed, change: Change) -> Reached:
        after = self._observe(draw, change)
        starts = self.recording.starts
        columns = np.zeros(starts[-1], dtype=bool)
        calls = self.recording.mixing.values()
        for mixing, old, new in zip(calls, before.read, after.read, strict=True):
            if old is not None and new is not None:
                own = slice(starts[mixing.source], starts[mixing.source + 1])
                columns[own] |= _changed(old, new, mixing)
        pairs = list(zip(before.outputs, after.outputs, strict=True))
        if any(old.shape != new.shape for old, new in pairs):
            raise OtherPath
        flags = [differs(old, new).flatten().cpu().numpy() for old, new in pairs]
        return Reached(columns, np.concatenate(flags) if flags else np.zeros(0, dtype=bool))

    def numbers_read(self, columns: Sequence[int], change: Change) -> np.ndarray:
        """Return all numbers that some columns read in every draw, call by call; float64.

        Args:
            columns: Numbers of the columns among those of all layers (see `Recording.starts`).
            change: Changes made in the run.

        Raises:
            OtherPath: The model made other calls than in its first run.
        """
        wanted, starts = np.array(columns), self.recording.starts
        found = [np.zeros(0)]
        for draw, _ in self._draws:
            read = self._observe(draw, change).read
            for mixing, data in zip(self.recording.mixing.values(), read, strict=True):
                first, end = starts[mixing.source], starts[mixing.source + 1]
                own = wanted[(wanted >= first) & (wanted < end)] - first
                if data is not None and len(own):
                    places = torch.from_numpy(own).to(data.device)
                    numbers = by_channel(data, mixing.read)[:, places]
                    found.append(numbers.double().flatten().cpu().numpy())
        return np.concatenate(found)

    def _observe(self, draw: Draw, change: Change) -> _Observed:
        run = ReplayedRun(self.recording, draw, change)
        with run:
            outputs = self._runner()
        run.finish()
        return _Observed(run.read, outputs)


def _add_parameters_between(recording: Recording, storage: ParameterStorage) -> None:
    """Add the parameters between layers as sources, one for every dimension that has channels."""
    names = dict.fromkeys(
        name for named in recording.passing.values() for name, _ in named.values()
    )
    filters = {
        name
        for number, named in recording.passing.items()
        for name, _ in named.values()
        if "convolution" in recording.operators[number]._schema.name
    }
    for name in names:
        value = storage.parameters[name]
        is_filter = name in filters and value.dim() > 1
        dimensions = [d for d in range(value.dim()) if value.shape[d] > 1] or [0]
        for dimension in dimensions if value.dim() else []:
            others = [d for d in range(value.dim()) if d != dimension]
            size = (1, value.shape[dimension], 1, *(value.shape[d] for d in others))
            stride = (0, value.stride(dimension), 0, *(value.stride(d) for d in others))
            recording.sources.append(
                ChannelSource(
                    name=storage.layer_name(name, is_embedding=False) if is_filter else name,
                    rows=(WeightView(name, size, stride),),
                    columns=None,
                    n_outputs=value.shape[dimension],
                    n_inputs=0,
                    is_layer=False,
                    is_convolution=is_filter,
                )
            )


def _changed(old: Tensor, new: Tensor, mixing: Mixing) -> np.ndarray:
    """Flag the columns of a call's input that differ between two runs."""
    if old.shape != new.shape:
        raise OtherPath
    return by_channel(differs(old, new), mixing.read).any(0).cpu().numpy()


def differs(old: Tensor, new: Tensor) -> Tensor:
    """Flag the elements that differ; what is no number in both is the same."""
    return ~((old == new) | ((old != old) & (new != new)))
