"""The training modes: registered names with a group, to which other packages can add.

A mode says which neuron of the candidate is ablated between cloning and training, or what perturbs
the equation that trains it. The six of the paper (section II.F) are built in, and every preset of
`antifragile.optim` is a mode of group ``perturbation``. The ablations of the paper:

| ablation | the neuron is drawn                            | what becomes zero                |
|----------|------------------------------------------------|----------------------------------|
| full     | one of the L+1 layers, then one of its neurons | incoming weights, bias           |
| hidden   | uniformly among all hidden neurons             | incoming weights, bias, outgoing |
| output   | uniformly among the output neurons             | incoming weights, bias           |

Linear layers are numbered 0 .. L, of which 0 .. L-1 are hidden and L is the output layer. The
ablations of residual networks are in `networks`.

Source: PSA paper, sections II.D and II.F, and its released code.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from antifragile._plugins import add_plugins
from antifragile.config.networks import (
    Network,
    choose_after_first,
    choose_channel,
    choose_inner,
)
from antifragile.config.perturbation import PERTURBATIONS, Perturbation, add_preset_plugins
from antifragile.errors import SpecError, UsageError, nearest

ChooseNeuron = Callable[[Sequence[int], np.random.Generator], tuple[int, int]]
"""Draws (layer, neuron), given the width of every linear layer and the trial's ablation stream."""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """The neuron that a PSA mode picks, and how much of it becomes zero.

    Args:
        choose: Draws the neuron.
        zeroes_outgoing: Zero the weights that read the neuron, beside its incoming ones and bias.
        whole_channel: The neuron is one of a ResMLP's stem; zero its channel in its whole run.
    """

    choose: ChooseNeuron
    zeroes_outgoing: bool = False
    whole_channel: bool = False


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One way to train: a name, its group, and which interventions it switches on.

    Args:
        name: As a spec writes it.
        group: ``baseline``, ``psa`` or ``perturbation``.
        ablation: The neuron that a PSA mode zeroes.
        uses_dropout: Whether the options' dropout acts.
        uses_decay: Whether the options' weight decay acts.
        perturbation: The preset that perturbs the update equation, at its defaults.
        residual_ablation: The neuron that it zeroes in a ResMLP, where that is chosen otherwise.
    """

    name: str
    group: str
    ablation: Ablation | None = None
    uses_dropout: bool = False
    uses_decay: bool = False
    perturbation: Perturbation | None = None
    residual_ablation: Ablation | None = None

    def ablation_in(self, network: Network) -> Ablation | None:
        """The neuron that it zeroes in a network of this kind."""
        own = self.residual_ablation if network is Network.RESMLP else None
        return own or self.ablation

    @property
    def needs_residual_blocks(self) -> bool:
        """Whether it ablates what no other network has."""
        return self.residual_ablation is not None and self.ablation is None


_MODES: dict[str, Mode] = {}


def register_mode(mode: Mode) -> Mode:
    """Add a mode under its name; a second mode of the same name is our own mistake."""
    assert mode.name not in _MODES, f"mode {mode.name!r} is registered twice"
    _MODES[mode.name] = mode
    return mode


def is_mode(name: str) -> bool:
    """Whether a mode has this name, built in or added by a plug-in."""
    if name not in _MODES:
        _add_plugins()
    return name in _MODES


def get_mode(name: str) -> Mode:
    """Look a mode up by name.

    Raises:
        SpecError: No such mode; the message names the nearest one.
    """
    if not is_mode(name):
        raise SpecError(f"unknown mode {name!r}; {nearest(name, _MODES)}")
    return _MODES[name]


def mode_names() -> tuple[str, ...]:
    """All registered modes, in order of registration; those of plug-ins come last."""
    _add_plugins()
    return tuple(_MODES)


def _add_plugins() -> None:
    add_preset_plugins()
    _register_presets()
    add_plugins("antifragile.modes", Mode, _MODES)


def _register_presets() -> None:
    """Make a mode of every preset that is none yet."""
    for name in PERTURBATIONS:
        if name not in _MODES:
            preset = Perturbation.of(name)
            register_mode(Mode(name=name, group="perturbation", perturbation=preset))


def _choose_full(widths: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
    layer = int(rng.integers(len(widths)))
    return layer, int(rng.integers(widths[layer]))


def _choose_hidden(widths: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
    hidden = widths[:-1]
    if not hidden:
        raise UsageError(
            "mode 'hidden' needs at least one hidden layer; got none. Use 'output', or add a layer."
        )
    index = int(rng.integers(sum(hidden)))
    starts = [0, *accumulate(hidden)]
    layer = bisect(starts, index) - 1
    return layer, index - starts[layer]


def _choose_output(widths: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
    return len(widths) - 1, int(rng.integers(widths[-1]))


_HIDDEN = Ablation(choose=_choose_hidden, zeroes_outgoing=True)
_INNER = Ablation(choose=choose_inner, zeroes_outgoing=True)
_CHANNEL = Ablation(choose=choose_channel, zeroes_outgoing=True, whole_channel=True)
_AFTER_FIRST = Ablation(choose=choose_after_first, zeroes_outgoing=True)

register_mode(Mode(name="none", group="baseline"))
register_mode(Mode(name="decay", group="baseline", uses_decay=True))
register_mode(Mode(name="dropout", group="baseline", uses_dropout=True))
register_mode(Mode(name="full", group="psa", ablation=Ablation(choose=_choose_full)))
register_mode(Mode(name="hidden", group="psa", ablation=_HIDDEN, residual_ablation=_INNER))
register_mode(Mode(name="output", group="psa", ablation=Ablation(choose=_choose_output)))

PAPER_MODES: tuple[str, ...] = tuple(_MODES)
"""none, decay, dropout, full, hidden, output: the six modes of the paper, in its order."""

_register_presets()
register_mode(Mode(name="channel", group="psa", residual_ablation=_CHANNEL))
register_mode(Mode(name="author-hidden", group="psa", residual_ablation=_AFTER_FIRST))
