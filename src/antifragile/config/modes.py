"""The training modes: registered names with a group, to which other packages can add.

A mode says which neuron of the candidate is ablated between cloning and training, or what perturbs
the equation that trains it. The six of the paper (section II.F) are built in, and every preset of
`antifragile.optim` is a mode of group ``perturbation``. ``redo`` (arXiv 2302.12902) and ``snr``
(arXiv 2410.20098) are rivals: they draw neurons that do not fire anew while they train
(`engine.recycling`). The ablations of the paper:

| ablation | the neuron is drawn                            | what becomes zero                |
|----------|------------------------------------------------|----------------------------------|
| full     | one of the L+1 layers, then one of its neurons | incoming weights, bias           |
| hidden   | uniformly among all hidden neurons             | incoming weights, bias, outgoing |
| output   | uniformly among the output neurons             | incoming weights, bias           |

Linear layers are numbered 0 .. L, of which 0 .. L-1 are hidden and L is the output layer. The
ablations of residual networks are in `networks`.

A name may go on with modifiers, as in ``hidden+patience=5`` (`modifiers.table` lists them), and
several modes may follow each other in one trial, as in ``dropout:50,output:50``; the grammar is in
`modifiers.grammar`. Such names need not be registered; their group is ``variant``.

Source: PSA paper, sections II.D and II.F, and its released code.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate

import numpy as np

from antifragile._plugins import add_plugins
from antifragile.config.modifiers.grammar import read_modifiers, spelled
from antifragile.config.modifiers.records import PAPER, NeuronPool, Variation
from antifragile.config.modifiers.table import MAX_NUMBER
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
        pool: The neurons it is drawn from, for modifiers that choose several, or others; None
            where only ``choose`` knows.
        whole_channel: The neuron is one of a ResMLP's stem; zero its channel in its whole run.
    """

    choose: ChooseNeuron
    zeroes_outgoing: bool = False
    pool: NeuronPool | None = None
    whole_channel: bool = False


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One way to train: a name, its group, and which interventions it switches on.

    Args:
        name: As a spec writes it.
        group: ``baseline``, ``psa``, ``perturbation`` or ``rival``; ``variant`` for one with
            modifiers or several stretches.
        ablation: The neuron that a PSA mode zeroes.
        uses_dropout: Whether the options' dropout acts.
        uses_decay: Whether the options' weight decay acts.
        perturbation: The preset that perturbs the update equation, at its defaults.
        variation: Promotion, optimizer, choice of neurons and damage; the paper's by default.
        base: The mode without its modifiers; its random streams are this mode's.
        stretches: Modes that follow each other in a trial, of which this one is made.
        recycling: The neurons that are drawn anew while it trains; None for none.
        recycles: Updates between two such recyclings; None for every update.
        residual_ablation: The neuron that it zeroes in a ResMLP, where that is chosen otherwise.
    """

    name: str
    group: str
    ablation: Ablation | None = None
    uses_dropout: bool = False
    uses_decay: bool = False
    perturbation: Perturbation | None = None
    variation: Variation = PAPER
    base: str = ""
    stretches: tuple[Stretch, ...] = ()
    recycling: Recycling | None = None
    recycles: int | None = None
    residual_ablation: Ablation | None = None

    def ablation_in(self, network: Network) -> Ablation | None:
        """The neuron that it zeroes in a network of this kind."""
        own = self.residual_ablation if network is Network.RESMLP else None
        return own or self.ablation

    @property
    def needs_residual_blocks(self) -> bool:
        """Whether it ablates what no other network has."""
        return self.residual_ablation is not None and self.ablation is None

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", self.base or self.name)

    def at(self, meta_loop: int) -> Mode:
        """Find the mode that a meta-loop (1-based) is trained in; the last stretch goes on."""
        if not self.stretches:
            return self
        ends = list(accumulate(stretch.loops for stretch in self.stretches))
        return self.stretches[min(bisect(ends, meta_loop - 1), len(ends) - 1)].mode

    def ablates(self, meta_loop: int, network: Network) -> bool:
        """Whether a meta-loop may ablate; one that starts afresh does not."""
        mode = self.at(meta_loop)
        afresh = mode.variation.promotion.starts_afresh(meta_loop)
        return mode.ablation_in(network) is not None and not afresh

    @property
    def recycle_every(self) -> int | None:
        """Updates between two recyclings, with its modifier; None for every update."""
        return self.variation.every or self.recycles

    @property
    def parts(self) -> tuple[Mode, ...]:
        """The modes of its stretches, or itself."""
        return tuple(stretch.mode for stretch in self.stretches) or (self,)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A mode and the number of meta-loops that it is trained in."""

    mode: Mode
    loops: int


class Recycling(StrEnum):
    """Neurons that are drawn anew: DORMANT as ReDo finds them, SILENT as SNR does."""

    DORMANT = "dormant"
    SILENT = "silent"


_LONGEST = 100  # characters that a store keeps

_MODES: dict[str, Mode] = {}


def register_mode(mode: Mode) -> Mode:
    """Add a mode under its name; a second mode of the same name is our own mistake."""
    assert mode.name not in _MODES, f"mode {mode.name!r} is registered twice"
    _MODES[mode.name] = mode
    return mode


def is_mode(name: str) -> bool:
    """Whether a mode has this name: built in, of a plug-in, with modifiers, or a schedule."""
    try:
        get_mode(name)
    except SpecError:
        return False
    return True


def get_mode(name: str) -> Mode:
    """Look a mode up by name, or make it of its modifiers or stretches.

    Raises:
        SpecError: No such mode; the message names the nearest one.

    Example:
        >>> get_mode("hidden + count=2 + patience=5").name
        'hidden+patience=5+count=2'
    """
    if not isinstance(name, str):
        raise SpecError(f"a mode is a name such as 'hidden'; got {name!r:.60}.")
    if name not in _MODES:
        _add_plugins()
    if name in _MODES:
        return _MODES[name]
    if not any(sign in name for sign in "+:"):
        raise SpecError(f"unknown mode {name!r}; {nearest(name, _MODES)}")
    mode = _made(name, tuple(_MODES))
    if len(mode.name) > _LONGEST:
        raise SpecError(
            f"mode {mode.name!r:.60}... has {len(mode.name)} characters; a name has at most "
            f"{_LONGEST}; did you mean {mode.parts[0].base!r}?"
        )
    return mode


@lru_cache(maxsize=1000)
def _made(name: str, registered: tuple[str, ...]) -> Mode:
    """Make a schedule, or a mode with modifiers; ``registered`` is the state of the registry."""
    if ":" not in name:
        return _varied(name)
    stretches: list[Stretch] = []
    for part in name.split(","):
        mode, colon, text = (piece.strip() for piece in part.partition(":"))
        digits = text.isascii() and text.isdigit() and len(text) < 9
        if not colon or not digits or not 1 <= int(text) <= MAX_NUMBER:
            raise SpecError(
                f"schedule {name!r:.120} has {part.strip()!r:.60}; each part is MODE:LOOPS, as in "
                "'dropout:50,output:50'"
            )
        stretches.append(Stretch(mode=get_mode(mode), loops=int(text)))
    joined = _joined(stretches)
    if len(joined) == 1:
        return joined[0].mode
    spelling = ",".join(f"{stretch.mode.name}:{stretch.loops}" for stretch in joined)
    variation = _shared(spelling, [stretch.mode.variation for stretch in joined])
    return Mode(name=spelling, group="variant", stretches=joined, variation=variation)


def _shared(spelling: str, variations: Sequence[Variation]) -> Variation:
    """Return what all stretches share: the law of fresh weights, and perhaps the step size."""
    laws = {variation.initialisation for variation in variations}
    if len(laws) > 1:
        raise SpecError(
            f"schedule {spelling!r:.120} begins with one network, so its parts share the law of "
            "fresh weights; give 'initialisation' to all of them, or to none"
        )
    rates = {variation.learning_rate for variation in variations}
    rate = rates.pop() if len(rates) == 1 else None
    return Variation(learning_rate=rate, initialisation=laws.pop())


def _joined(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """Join neighbours of one mode."""
    joined: list[Stretch] = []
    for stretch in stretches:
        if joined and joined[-1].mode == stretch.mode:
            stretch = replace(stretch, loops=joined.pop().loops + stretch.loops)
        joined.append(stretch)
    return tuple(joined)


def _varied(name: str) -> Mode:
    head, *words = (word.strip() for word in name.split("+"))
    if head not in _MODES:
        raise SpecError(f"unknown mode {head!r} in {name!r:.120}; {nearest(head, _MODES)}")
    base = _MODES[head]
    pool = None if base.ablation is None else base.ablation.pool
    ablates = base.ablation is not None or base.residual_ablation is not None
    variation = read_modifiers(head, words, ablates=ablates, pool=pool, every=base.recycles)
    if variation == base.variation:
        return base
    return replace(
        base, name=head + spelled(variation), group="variant", variation=variation, base=base.name
    )


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


_FULL = Ablation(choose=_choose_full, pool=NeuronPool.ALL)
_HIDDEN = Ablation(choose=_choose_hidden, zeroes_outgoing=True, pool=NeuronPool.HIDDEN)
_OUTPUT = Ablation(choose=_choose_output, pool=NeuronPool.OUTPUT)
_INNER = Ablation(choose=choose_inner, zeroes_outgoing=True)
_CHANNEL = Ablation(choose=choose_channel, zeroes_outgoing=True, whole_channel=True)
_AFTER_FIRST = Ablation(choose=choose_after_first, zeroes_outgoing=True)

register_mode(Mode(name="none", group="baseline"))
register_mode(Mode(name="decay", group="baseline", uses_decay=True))
register_mode(Mode(name="dropout", group="baseline", uses_dropout=True))
register_mode(Mode(name="full", group="psa", ablation=_FULL))
register_mode(Mode(name="hidden", group="psa", ablation=_HIDDEN, residual_ablation=_INNER))
register_mode(Mode(name="output", group="psa", ablation=_OUTPUT))

PAPER_MODES: tuple[str, ...] = tuple(_MODES)
"""none, decay, dropout, full, hidden, output: the six modes of the paper, in its order."""

_register_presets()
register_mode(Mode(name="channel", group="psa", residual_ablation=_CHANNEL))
register_mode(Mode(name="author-hidden", group="psa", residual_ablation=_AFTER_FIRST))
register_mode(Mode(name="redo", group="rival", recycling=Recycling.DORMANT, recycles=1000))
register_mode(Mode(name="snr", group="rival", recycling=Recycling.SILENT))
