"""The spec of one trial: architecture, mode, training options, seed.

`TrainingOptions` holds every number of the inner training loop; its defaults are the preset
``paper``. `TrialSpec` adds what identifies one trial, and is all an engine needs besides data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from itertools import product
from typing import Any

from antifragile._records import to_json
from antifragile.config._checks import Faults
from antifragile.config.architecture import Architecture
from antifragile.config.modes import Ablation, Mode, get_mode, is_mode
from antifragile.config.modifiers.eligible import check_choice
from antifragile.config.modifiers.records import TargetChoice
from antifragile.config.networks import BlockNorm, Initialiser, Network
from antifragile.config.perturbation import Perturbation, read_perturbations
from antifragile.config.seeds import Pairing, SeedTree, TrialStreams
from antifragile.errors import SpecError, UsageError, nearest

MAX_META_LOOPS = 10**7  # of one trial; the paper has 100
_MANY_CLASSES = 10**9
_HUGE = 1e18  # beyond it a product of two options overflows float32


class Normalization(StrEnum):
    """The scale of pixels as inputs: ``unit`` is [0, 1], ``standardize`` is zero mean, unit sd."""

    STANDARDIZE = "standardize"
    UNIT = "unit"


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The inner training loop: AdamW for one epoch, reshuffled, the last short batch kept.

    Args:
        learning_rate: AdamW step size.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        epsilon: Added to the root of the second moment.
        batch_size: Samples per step.
        weight_decay: Decoupled weight decay in mode ``decay``.
        background_weight_decay: Decoupled weight decay in every other mode.
        dropout: Drop probability after every hidden ReLU in mode ``dropout``.
        normalization: The scale of pixels as inputs.
        perturb: Presets of `antifragile.optim` that perturb the update equation in every mode, as
            names or as tables of a preset with options.
        network: The kind of network that an architecture names.
        initialisation: The law of fresh weights.
        block_dropout: Drop probability inside the blocks of a ResMLP in modes other than
            ``dropout``, in which ``dropout`` acts there too.
        block_norm: Normalisation before the blocks of a ResMLP; no kernel of the fleet has it.

    The last five are part of an id only where they are not at their defaults.

    Note:
        In float32 the factor ``1 - learning_rate * weight_decay`` rounds to 1 at the paper's
        values (1e-4 and 1e-4), so mode ``decay`` is then a placebo (`decay_is_placebo`).

    Source: PSA paper, sections II.E-II.G, and its released code.
    """

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    batch_size: int = 256
    weight_decay: float = 1e-4
    background_weight_decay: float = 0.0
    dropout: float = 0.1
    normalization: Normalization = Normalization.STANDARDIZE
    perturb: tuple[Perturbation, ...] = ()
    network: Network = Network.MLP
    initialisation: Initialiser = Initialiser.PYTORCH
    block_dropout: float = 0.0
    block_norm: BlockNorm = BlockNorm.NONE

    def __post_init__(self) -> None:
        faults = Faults("training")
        faults.number("learning_rate", self.learning_rate, minimum=0, below=_HUGE, open_=True)
        faults.number("beta1", self.beta1, minimum=0, below=1, open_=False)
        faults.number("beta2", self.beta2, minimum=0, below=1, open_=False)
        faults.number("epsilon", self.epsilon, minimum=0, below=_HUGE, open_=True)
        faults.whole_number("batch_size", self.batch_size, minimum=1, maximum=2**31 - 1)
        for key in ("weight_decay", "background_weight_decay"):
            faults.number(key, getattr(self, key), minimum=0, below=_HUGE, open_=False)
        for key in ("dropout", "block_dropout"):
            faults.number(key, getattr(self, key), minimum=0, below=1, open_=False)
        for key, choices in _CHOICES.items():
            faults.choice(key, getattr(self, key), list(choices))
        for key, none in (("block_dropout", 0), ("block_norm", BlockNorm.NONE)):
            if self.network == Network.MLP and getattr(self, key) != none:
                faults.add(
                    f"{key} acts inside residual blocks, which network 'mlp' has not; use network "
                    "'resmlp'"
                )
        perturb = read_perturbations(faults, self.perturb)
        faults.raise_if_any()
        object.__setattr__(self, "perturb", perturb)
        for key, choices in _CHOICES.items():
            object.__setattr__(self, key, choices(getattr(self, key)))
        for item in fields(self):
            if isinstance(item.default, float):
                object.__setattr__(self, item.name, float(getattr(self, item.name)))

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], *, preset: str = "paper") -> TrainingOptions:
        """Start from a preset and override what ``data`` names.

        Raises:
            SpecError: Unknown preset or key, or a value out of range; all faults at once.
        """
        faults = Faults("training")
        valid = [item.name for item in fields(cls)]
        faults.unknown_keys(data, valid, where="training.")
        options = None
        try:
            if preset not in PRESETS:
                raise SpecError(f"preset {preset!r} is unknown; {nearest(str(preset), PRESETS)}")
            known = {key: value for key, value in data.items() if key in valid}
            options = replace(PRESETS[preset], **known)
        except SpecError as error:
            faults.extend(error)
        faults.raise_if_any()
        assert options is not None
        return options

    def perturbations_in(self, mode: str) -> tuple[Perturbation, ...]:
        """Perturbations of the update equation in this mode; the mode's own preset comes last.

        Those of a mode of several stretches are those of the first.
        """
        own = get_mode(mode).at(1).perturbation
        return self.perturb if own is None else (*self.perturb, own)

    @property
    def decay_is_placebo(self) -> bool:
        """Whether mode ``decay`` can only repeat a paired ``none``.

        It cannot change a float32 weight, no other mode decays, and neither draws dropout masks.
        """
        import numpy as np

        factor = np.float32(1 - self.learning_rate * self.weight_decay)
        others = self.background_weight_decay or self.block_dropout
        return bool(factor == np.float32(1)) and not others

    def to_mapping(self, *, preset: str = "paper") -> dict[str, Any]:
        """Plain values for JSON and TOML, in field order.

        Fields that came later are left out at their defaults, so that older ids do not change,
        unless the preset from which these values will be read has another value.
        """
        values: dict[str, Any] = to_json(self)
        values["perturb"] = [item.to_mapping() for item in self.perturb]
        for item in fields(self):
            both = getattr(self, item.name), getattr(PRESETS[preset], item.name)
            if item.name in _LATER_FIELDS and both == (item.default, item.default):
                del values[item.name]
        return values


_CHOICES = {
    "normalization": Normalization,
    "network": Network,
    "initialisation": Initialiser,
    "block_norm": BlockNorm,
}
_LATER_FIELDS = ("perturb", "network", "initialisation", "block_dropout", "block_norm")


PRESETS: Mapping[str, TrainingOptions] = {
    "paper": TrainingOptions(),
    "table-v": TrainingOptions(background_weight_decay=0.01),
    "author-resmlp": TrainingOptions(
        network=Network.RESMLP, background_weight_decay=0.01, block_dropout=0.1
    ),
}
"""``paper``: as the paper describes. ``table-v``: as the data behind its Table V were produced,
with AdamW's default decay of 0.01 in every mode but ``decay``. ``author-resmlp``: as its author
trained residual networks, with that decay, and dropout inside the blocks in every mode."""


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """One trial of one mode on one architecture; with the data it determines every number."""

    dataset: str
    architecture: Architecture
    mode: str
    trial: int = 1
    meta_loops: int = 100
    seed: int = 1337
    pairing: Pairing = Pairing.PAIRED
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", get_mode(self.mode).name)
        faults = Faults("trial")
        faults.whole_number("trial", self.trial, minimum=1)
        faults.whole_number("meta_loops", self.meta_loops, minimum=1, maximum=MAX_META_LOOPS)
        faults.whole_number("seed", self.seed, minimum=0)
        faults.choice("pairing", self.pairing, list(Pairing))
        check_perturbations(faults, self.training, [self.mode])
        check_neurons(faults, [self.architecture], [self.mode], self.training)
        check_ablations(faults, self.training, [self.mode])
        faults.raise_if_any()
        object.__setattr__(self, "pairing", Pairing(self.pairing))

    def at(self, meta_loop: int) -> TrialSpec:
        """Return the trial in the mode of a meta-loop; another one only in a mode of stretches.

        Its random streams are those of `streams` for this meta-loop, not its own.
        """
        mode = get_mode(self.mode).at(meta_loop).name
        return self if mode == self.mode else replace(self, mode=mode)

    @property
    def ablation(self) -> Ablation | None:
        """The neuron that is zeroed in this trial's mode and kind of network."""
        return get_mode(self.mode).ablation_in(self.training.network)

    @property
    def weight_decay(self) -> float:
        """AdamW's decoupled weight decay in this trial's mode."""
        options = self.training
        uses_decay = get_mode(self.mode).uses_decay
        return options.weight_decay if uses_decay else options.background_weight_decay

    @property
    def dropout(self) -> float:
        """Drop probability in this trial's mode, 0 outside ``dropout``."""
        return self.training.dropout if get_mode(self.mode).uses_dropout else 0.0

    @property
    def block_dropout(self) -> float:
        """Drop probability inside residual blocks in this trial's mode."""
        options, uses_dropout = self.training, get_mode(self.mode).uses_dropout
        return options.dropout if uses_dropout else options.block_dropout

    @property
    def perturbations(self) -> tuple[Perturbation, ...]:
        """Perturbations of the update equation in this trial's mode, in order."""
        return self.training.perturbations_in(self.mode)

    def streams(self, meta_loop: int = 1) -> TrialStreams:
        """The named random streams of this trial at a meta-loop.

        Init and order are keyed by (seed, architecture, trial), and by the mode as well when
        ``pairing`` is independent; the others are always keyed by the mode. When it is paired,
        that is the base of the mode that the meta-loop is trained in, without its modifiers: two
        modes that differ in a modifier draw the same until it acts.
        """
        trial = SeedTree(self.seed).child(self.architecture.name, self.trial)
        is_paired = self.pairing is Pairing.PAIRED
        own = trial.child(get_mode(self.mode).at(meta_loop).base if is_paired else self.mode)
        shared = trial if is_paired else own
        return TrialStreams(
            init=shared.child("init"),
            order=shared.child("order"),
            ablation=own.child("ablation"),
            dropout=own.child("dropout"),
            perturbation=own.child("perturbation"),
        )


def check_perturbations(faults: Faults, training: TrainingOptions, modes: Iterable[str]) -> None:
    """Note every mode whose own preset cannot stand beside those of all modes."""
    common = {item.preset: item for item in training.perturb}
    closures = sorted(name for name, item in common.items() if item.facts.needs_closure)
    for mode in _parts(modes):
        own = mode.perturbation
        if mode.recycles and training.perturb:
            faults.add(
                f"mode {mode.name!r} draws neurons anew between updates, which training.perturb "
                "cannot stand beside; drop one of the two"
            )
        if own is None:
            continue
        if own.preset in common:
            faults.add(
                f"mode {mode.name!r} perturbs by {own.preset!r}, which training.perturb names for "
                "all modes; drop one of the two"
            )
        elif own.facts.needs_closure and closures:
            faults.add(
                f"mode {mode.name!r} and {closures[0]!r} of training.perturb both evaluate the "
                "gradient a second time, of which a step can have one"
            )


def check_neurons(
    faults: Faults,
    architectures: Iterable[Architecture],
    modes: Iterable[str],
    training: TrainingOptions,
    *,
    n_classes: int = _MANY_CLASSES,
) -> None:
    """Note every mode that names neurons which an architecture does not have.

    Args:
        faults: The list that faults are added to.
        architectures: The architectures.
        modes: Names of modes; unknown ones are left out.
        training: The training options.
        n_classes: Neurons of the output layer; without it these are not counted.
    """
    chosen = [mode for mode in _parts(modes) if mode.variation.targets != TargetChoice()]
    if chosen and training.network is not Network.MLP:
        faults.add(
            f"mode {chosen[0].name!r} chooses among the neurons of network 'mlp'; network "
            f"{str(training.network)!r} takes modifiers of the promotion, the optimizer and the "
            "damage only"
        )
        return
    for mode, architecture in product(chosen, architectures if chosen else ()):
        if mode.ablation is None:
            continue  # it needs residual blocks, which is said elsewhere
        widths = architecture.layer_sizes(1, n_classes)[1:]
        try:
            check_choice(mode.ablation.pool, mode.variation.targets, widths)
        except UsageError as error:
            faults.add(f"mode {mode.name!r} does not fit architecture {architecture}: {error}")


def _parts(modes: Iterable[str]) -> list[Mode]:
    """The modes of which these are made, without unknown ones."""
    known = [get_mode(mode) for mode in modes if is_mode(mode)]
    return list(dict.fromkeys(part for mode in known for part in mode.parts))


def check_ablations(faults: Faults, training: TrainingOptions, modes: Iterable[str]) -> None:
    """Note every mode that ablates, or draws anew, what the network does not have."""
    for mode in _parts(modes):
        if mode.recycles and training.network is not Network.MLP:
            faults.add(
                f"mode {mode.name!r} draws neurons of network 'mlp' anew, not of network "
                f"{str(training.network)!r}; use network 'mlp' or another mode"
            )
        if mode.needs_residual_blocks and training.network is Network.MLP:
            faults.add(
                f"mode {mode.name!r} ablates residual blocks, which network 'mlp' has not; use "
                "network 'resmlp' or mode 'hidden'"
            )
