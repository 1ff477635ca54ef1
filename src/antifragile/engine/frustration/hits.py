"""The units that a mode hits in a model: which there are, and the choice among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from antifragile.config.modes import Ablation, Mode, get_mode
from antifragile.errors import UsageError
from antifragile.model.targets import choose_neurons, most_neurons
from antifragile.model.units.records import Unit, UnitGroup, UnitKind, UnitTable

_INNER = (UnitKind.NEURON, UnitKind.CHANNEL, UnitKind.HEAD)


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
        return [len(units) for units in self.layers]

    @property
    def layers(self) -> list[tuple[Unit, ...]]:
        """Units of every layer, the outputs last."""
        return [*(group.units for group in self.hidden), self.outputs]

    def choose(
        self,
        mode: Mode,
        values: Sequence[np.ndarray] | None,
        *,
        rng: np.random.Generator,
        rate: int,
    ) -> list[Unit]:
        """Choose the units that a meta-loop hits.

        Args:
            mode: The mode of the meta-loop.
            values: Those by which it ranks the units of every layer; None where it does not.
            rng: The stream that draws.
            rate: Number of units in an adaptive mode.
        """
        ablation, choice = ablation_of(mode), mode.variation.targets
        assert ablation is not None, "a mode that ablates"
        chosen = choose_neurons(ablation, choice, self.widths, rng=rng, rate=rate, values=values)
        layers = self.layers
        return [layers[layer][number] for layer, number in chosen]

    def most_rate(self, mode: Mode) -> int:
        """Upper bound of an adaptive mode's rate; 1 in any other."""
        return most_neurons(ablation_of(mode), mode.variation.targets, self.widths)


def ablation_of(mode: Mode) -> Ablation | None:
    """Choice of a mode in any model; of ``channel`` that of ``hidden``, among residual units."""
    return get_mode("hidden").ablation if mode.base == "channel" else mode.ablation


def check_choice_of(mode: Mode) -> None:
    """Refuse the choice of units that is the author's own, in his residual networks."""
    if mode.base == "author-hidden":
        raise UsageError(
            f"mode {mode.name!r} hits neurons as the paper's author did in his residual networks; "
            "for a model of your own use hidden or channel."
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
