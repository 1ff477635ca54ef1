"""The units that a mode hits in a model: which there are, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from antifragile.config.modes import Ablation, Mode, get_mode
from antifragile.config.modifiers.records import NeuronRank
from antifragile.errors import UsageError
from antifragile.model.targets import choose_neurons, most_neurons
from antifragile.model.units.records import Unit, UnitGroup, UnitKind, UnitTable

_INNER = (UnitKind.NEURON, UnitKind.CHANNEL, UnitKind.HEAD)
_MAGNITUDES = (NeuronRank.LEAST_MAGNITUDE, NeuronRank.MOST_MAGNITUDE)


@dataclass(frozen=True)
class UnitPool:
    """The units that a model's modes choose from, layer by layer.

    Args:
        hidden: Inner units; of mode ``channel`` those of residual streams.
        outputs: Units of the output layers.
    """

    hidden: tuple[UnitGroup, ...]
    outputs: tuple[Unit, ...]

    @classmethod
    def of(cls, table: UnitTable, mode: Mode, layers: Sequence[str] | None) -> UnitPool:
        """Take the units that a mode may hit.

        Args:
            table: The model's units.
            mode: The mode.
            layers: Names of the layers whose hidden units may be hit; None for all.

        Raises:
            UsageError: There are none, or a layer is unknown.
        """
        kinds = (UnitKind.RESIDUAL,) if mode.base == "channel" else _INNER
        hidden = table.of_kinds(*kinds)
        if layers is not None:
            hidden = [_named(name, hidden) for name in layers]
        outputs = [u for group in table.of_kinds(UnitKind.OUTPUT) for u in group.units]
        pool = cls(tuple(hidden), tuple(outputs))
        needs_outputs = mode.base in ("output", "full")
        if (needs_outputs and not outputs) or (mode.base != "output" and not hidden):
            raise UsageError(_none_message(mode, table, "output" if hidden else "hidden"))
        return pool

    @property
    def widths(self) -> list[int]:
        """Number of units of every layer, the outputs last."""
        return [*(len(group.units) for group in self.hidden), len(self.outputs)]

    def unit(self, layer: int, number: int) -> Unit:
        """Look a unit up by layer and number."""
        if layer == len(self.hidden):
            return self.outputs[number]
        return self.hidden[layer].units[number]

    def choose(
        self, mode: Mode, parameters: Mapping[str, Tensor], *, rng: np.random.Generator, rate: int
    ) -> list[Unit]:
        """Choose the units that a meta-loop hits.

        Args:
            mode: The mode of the meta-loop.
            parameters: The model's parameters, for modes that rank units by them.
            rng: The stream that draws.
            rate: Number of units in an adaptive mode.
        """
        ablation, choice = ablation_of(mode), mode.variation.targets
        assert ablation is not None, "a mode that ablates"
        values = None
        if choice.rank is not None:
            values = [self._magnitudes(layer, parameters) for layer in range(len(self.widths))]
        chosen = choose_neurons(ablation, choice, self.widths, rng=rng, rate=rate, values=values)
        return [self.unit(layer, number) for layer, number in chosen]

    def most_rate(self, mode: Mode) -> int:
        """Upper bound of an adaptive mode's rate; 1 in any other."""
        return most_neurons(ablation_of(mode), mode.variation.targets, self.widths)

    def _magnitudes(self, layer: int, parameters: Mapping[str, Tensor]) -> np.ndarray:
        """Norm of every unit's incoming entries."""
        units = self.outputs if layer == len(self.hidden) else self.hidden[layer].units
        return np.array([unit.incoming_norm(parameters) for unit in units])


def ablation_of(mode: Mode) -> Ablation | None:
    """Choice of a mode in any model; of ``channel`` that of ``hidden``, among residual units."""
    return get_mode("hidden").ablation if mode.base == "channel" else mode.ablation


def check_choice_of(mode: Mode) -> None:
    """Refuse a choice of units that is defined for the paper's networks only.

    Raises:
        UsageError: It is the author's own, or needs activations or gradients.
    """
    if mode.base == "author-hidden":
        raise UsageError(
            f"mode {mode.name!r} hits neurons as the paper's author did in his residual networks; "
            "for a model of your own use hidden or channel."
        )
    rank = mode.variation.targets.rank
    if rank is not None and rank not in _MAGNITUDES:
        raise UsageError(
            f"mode {mode.name!r} ranks units by {rank}, which is measured on the paper's networks "
            "only; for a model of your own use least-magnitude or most-magnitude."
        )


def _named(name: str, groups: Sequence[UnitGroup]) -> UnitGroup:
    for group in groups:
        if group.layer == name:
            return group
    known = ", ".join(repr(group.layer) for group in groups) or "none"
    raise UsageError(f"layer {name!r} has no hidden units; layers that have some: {known}.")


def _none_message(mode: Mode, table: UnitTable, kind: str) -> str:
    refused = "; ".join(f"{row.layer}: {row.reason}" for row in table.refused[:3])
    because = f" ({refused})" if refused else ""
    return (
        f"mode {mode.name!r} needs {kind} units, and the model has none that can be cut off"
        f"{because}; use another mode, or see 'antifragile units'."
    )
