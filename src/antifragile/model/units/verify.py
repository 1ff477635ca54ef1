"""Proof of every unit on the model itself, with its own weights.

For a set of units: their entries become zero; then the incoming ones get random values. If the
model's outputs stay the same, bit by bit, nothing behind the units sees what comes in, so they are
cut off. Sets are drawn by the binary digits of the units' numbers, so that any two units of a
group are apart in some set: what leaks from one through another's columns shows.

Weights that are read in several ways (a head tied to its embedding) are looked through first: an
entry that a unit zeroes must belong to it in every way in which it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from antifragile.model.units.records import Unit, joined, masks
from antifragile.model.units.watching.prepare import Runner
from antifragile.model.units.watching.runs import differs
from antifragile.model.units.watching.sources import ChannelSource

_TRIED_ALONE = 8
_LARGE = 3.0  # size of the random values, far above those of a trained layer

Check = Callable[[Sequence[Unit]], bool]


def failing(units: Sequence[Unit], check: Check) -> list[Unit]:
    """Return the units of a group that are not cut off by their ablation.

    Args:
        units: A group.
        check: Whether a set of units, ablated together, is cut off.
    """
    if all(check(chosen) for chosen in separating_sets(units)):
        return []
    tried = units[:: max(1, len(units) // _TRIED_ALONE)]
    if not any(check([unit]) for unit in tried):
        return list(units)
    return [unit for unit in units if not check([unit])]


def separating_sets(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """Yield all units, and sets by the digits of their numbers: any two are once apart."""
    yield list(units)
    for digit in range(max(len(units) - 1, 0).bit_length()):
        for value in (0, 1):
            yield [unit for place, unit in enumerate(units) if (place >> digit) & 1 == value]


class CutOff:
    """Tells whether a set of units, ablated together, changes nothing by what comes in.

    Args:
        parameters: The model's parameters by name; changed and restored.
        runner: Runs the model.
        sources: All layers, to look for weights that are read in several ways.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        runner: Runner,
        sources: Sequence[ChannelSource],
    ) -> None:
        self._parameters, self._runner = parameters, runner
        self._beside = _sharing_storage(parameters)
        self._tied = _read_in_several_ways(sources)

    def __call__(self, units: Sequence[Unit]) -> bool:
        """Ablate, randomise what comes in, and compare; everything is restored."""
        return not self.leaks(units)

    @torch.no_grad()
    def leaks(self, units: Sequence[Unit]) -> bool:
        """Whether random incoming values change an output."""
        incoming = masks(self._parameters, [part for unit in units for part in unit.incoming])
        outgoing = masks(self._parameters, [part for unit in units for part in unit.outgoing])
        parts = [part for unit in units for part in (*unit.incoming, *unit.outgoing)]
        names = {beside for name in (*incoming, *outgoing) for beside in self._beside[name]}
        saved = {name: self._parameters[name].detach().clone() for name in names}
        try:
            for part in joined(parts):
                part.put(self._parameters[part.view.parameter], 0)
            if not self._changed_only(saved, incoming, outgoing):
                return True
            before = self._runner()
            for name, mask in incoming.items():
                only = mask & ~outgoing[name] if name in outgoing else mask
                parameter = self._parameters[name]
                drawn = torch.empty_like(parameter).uniform_(-_LARGE, _LARGE)
                parameter.copy_(torch.where(only, drawn, parameter.detach()))
            return not _equal(before, self._runner())
        finally:
            for name, value in saved.items():
                self._parameters[name].copy_(value)

    def _changed_only(
        self,
        saved: Mapping[str, Tensor],
        incoming: Mapping[str, Tensor],
        outgoing: Mapping[str, Tensor],
    ) -> bool:
        """Whether the listed entries are zero and all others are as they were.

        Parameters that share memory with a listed one are among those that are compared.
        """
        for name, before in saved.items():
            listed = incoming.get(name, torch.zeros((), dtype=torch.bool, device=before.device))
            if name in outgoing:
                listed = listed | outgoing[name]
            expected = torch.where(listed, torch.zeros_like(before), before)
            if not torch.equal(self._parameters[name].detach(), expected):
                return False
        return True

    def reads_elsewhere(self, units: Sequence[Unit]) -> str | None:
        """Name a layer that reads entries of the units as something that is not theirs."""
        for name, sources in self._tied.items():
            parts = [
                part
                for unit in units
                for part in (*unit.incoming, *unit.outgoing)
                if part.view.parameter == name
            ]
            if not parts:
                continue
            zeroed = masks(self._parameters, parts)[name]
            for source in sources:
                view = next(view for view in source.rows if view.parameter == name)
                left = zeroed.clone()
                for part in parts:
                    if part.view == view:
                        part.put(left, False)
                if view.any(left):
                    return source.name
        return None


def _sharing_storage(parameters: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Names of the parameters in the same memory as each, itself among them."""
    found: dict[int, list[str]] = {}
    for name, value in parameters.items():
        found.setdefault(value.untyped_storage().data_ptr(), []).append(name)
    return {name: names for names in found.values() for name in names}


def _read_in_several_ways(sources: Sequence[ChannelSource]) -> dict[str, list[ChannelSource]]:
    """Layers by the parameter they read, where several read it through different views."""
    readers: dict[str, list[ChannelSource]] = {}
    for source in sources:
        if source.is_layer:
            for view in source.rows:
                readers.setdefault(view.parameter, []).append(source)
    return {name: found for name, found in readers.items() if len(found) > 1}


def _equal(before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    return len(before) == len(after) and all(
        a.shape == b.shape and not bool(differs(a, b).any())
        for a, b in zip(before, after, strict=True)
    )
