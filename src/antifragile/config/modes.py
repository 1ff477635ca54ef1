"""The training modes as registered names with a group, so that more can come.

A mode says what happens to the candidate between cloning and training, or to the equation that
trains it. The six of the paper (section II.F) are built in, and every preset of
`antifragile.optim` is a mode of group ``perturbation``. What an ablation does to weights is in
`model.ablation`, what a preset does to a step in `optim.presets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from antifragile.config.perturbation import PERTURBATIONS, Perturbation
from antifragile.errors import SpecError, nearest


class Ablation(StrEnum):
    """Where a PSA mode picks its neuron, and how much of it is zeroed.

    FULL: one of the L+1 linear layers, then one of its neurons; incoming weights and bias.
    HIDDEN: any hidden neuron; incoming weights, bias and outgoing weights.
    OUTPUT: an output neuron; incoming weights and bias.
    """

    FULL = "full"
    HIDDEN = "hidden"
    OUTPUT = "output"


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One way to train: a name, its group, and which interventions it switches on.

    Args:
        name: As a spec writes it.
        group: ``baseline``, ``psa`` or ``perturbation``.
        ablation: Where a PSA mode zeroes a neuron.
        uses_dropout: Whether the options' dropout acts.
        uses_decay: Whether the options' weight decay acts.
        perturbation: The preset that perturbs the update equation, at its defaults.
    """

    name: str
    group: str
    ablation: Ablation | None = None
    uses_dropout: bool = False
    uses_decay: bool = False
    perturbation: Perturbation | None = None


_MODES: dict[str, Mode] = {}


def register_mode(mode: Mode) -> Mode:
    """Add a mode under its name; a second mode of the same name is our own mistake."""
    assert mode.name not in _MODES, f"mode {mode.name!r} is registered twice"
    _MODES[mode.name] = mode
    return mode


def get_mode(name: str) -> Mode:
    """Look a mode up by name.

    Raises:
        SpecError: No such mode; the message names the nearest one.
    """
    try:
        return _MODES[name]
    except KeyError:
        raise SpecError(f"unknown mode {name!r}; {nearest(name, _MODES)}") from None


def mode_names() -> tuple[str, ...]:
    """All registered modes, in order of registration."""
    return tuple(_MODES)


register_mode(Mode(name="none", group="baseline"))
register_mode(Mode(name="decay", group="baseline", uses_decay=True))
register_mode(Mode(name="dropout", group="baseline", uses_dropout=True))
register_mode(Mode(name="full", group="psa", ablation=Ablation.FULL))
register_mode(Mode(name="hidden", group="psa", ablation=Ablation.HIDDEN))
register_mode(Mode(name="output", group="psa", ablation=Ablation.OUTPUT))

PAPER_MODES: tuple[str, ...] = mode_names()
"""none, decay, dropout, full, hidden, output: the six modes of the paper, in its order."""

for _preset in PERTURBATIONS:
    register_mode(Mode(name=_preset, group="perturbation", perturbation=Perturbation.of(_preset)))
