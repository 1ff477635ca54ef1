"""The colour, marker and dash pattern of every mode and regime, the same in figures and pages.

Colours are Okabe and Ito's, told apart by colour-blind readers; every colour comes with a marker
or a dash pattern of its own, so that a print without colour still reads.

Source: Okabe and Ito, "Color Universal Design", 2008.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from antifragile.analysis.regimes.words import Regime
from antifragile.config.modes import mode_names

EDGE = "#3a3a3a"
GRID = "#d9d9d9"
QUIET = "#767676"
NEUTRAL = "#bdbdbd"


@dataclass(frozen=True, kw_only=True)
class Look:
    """A colour with a marker and a dash pattern that carry the same meaning."""

    color: str
    marker: str
    dash: tuple[float, ...] = ()

    @property
    def linestyle(self) -> tuple[int, tuple[float, ...]]:
        """The dash pattern in matplotlib's form."""
        return (0, self.dash)


MODE_LOOKS: Mapping[str, Look] = {
    "none": Look(color="#000000", marker="o"),
    "decay": Look(color="#56B4E9", marker="v", dash=(5, 1.5)),
    "dropout": Look(color="#0072B2", marker="^", dash=(1.5, 1)),
    "full": Look(color="#E69F00", marker="s"),
    "hidden": Look(color="#009E73", marker="D", dash=(5, 1.5)),
    "output": Look(color="#D55E00", marker="P", dash=(1.5, 1)),
}
_FURTHER_MODES = (
    Look(color="#CC79A7", marker="X", dash=(4, 1, 1, 1)),
    Look(color="#882255", marker="*", dash=(6, 2, 1, 2)),
    Look(color="#999933", marker="h", dash=(2, 2)),
    Look(color="#332288", marker="<", dash=(8, 2)),
    Look(color="#44AA99", marker=">", dash=(3, 1)),
    Look(color="#AA4499", marker="p", dash=(1, 2)),
    Look(color="#661100", marker="d", dash=(6, 1, 1, 1, 1, 1)),
)
TIE_LOOK = Look(color="#c8c8c8", marker="o")

REGIME_LOOKS: Mapping[str, Look] = {
    Regime.BENEFICIAL: Look(color="#009E73", marker="o"),
    Regime.OPTIMAL: Look(color="#D55E00", marker="s"),
    Regime.CHAOTIC: Look(color="#0072B2", marker="^"),
    Regime.FAILURE: Look(color="#1a1a1a", marker="X"),
    Regime.UNCLASSIFIED: Look(color="#ffffff", marker="D"),
    Regime.UNDECIDED: Look(color="#ffffff", marker="D"),
}
_UNJUDGED = Look(color=NEUTRAL, marker="D")


def mode_looks(modes: Sequence[str]) -> dict[str, Look]:
    """A look for every mode; those that are not the paper's get further ones in turn.

    Registered modes take their turn by registration, unless two of them would look the same, so
    that a mode looks alike in most figures.
    """
    others = [mode for mode in modes if mode not in MODE_LOOKS]
    registered = [mode for mode in mode_names() if mode not in MODE_LOOKS]
    places = [registered.index(m) if m in registered else len(registered) for m in others]
    turns = [place % len(_FURTHER_MODES) for place in places]
    if len(set(turns)) < len(turns):
        turns = [i % len(_FURTHER_MODES) for i in range(len(others))]
    further = {mode: _FURTHER_MODES[turn] for mode, turn in zip(others, turns, strict=True)}
    return {mode: MODE_LOOKS.get(mode) or further[mode] for mode in modes}


def regime_look(regime: str) -> Look:
    """The look of a regime; grey for any label that is none of the five."""
    return REGIME_LOOKS.get(regime, _UNJUDGED)
