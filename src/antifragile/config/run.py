"""The spec of one trial: architecture, mode, training options, seed.

`TrainingOptions` holds every number of the inner training loop; its defaults are the preset
``paper``. `TrialSpec` adds what identifies one trial, and is all an engine needs besides data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from antifragile.config._checks import Faults, only_known
from antifragile.config.architecture import Architecture
from antifragile.config.modes import get_mode, is_mode
from antifragile.config.perturbation import Perturbation, read_perturbations
from antifragile.config.seeds import Pairing, TrialStreams, trial_streams
from antifragile.errors import SpecError, nearest

MAX_META_LOOPS = 10**7  # of one trial; the paper has 100
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
            names or as tables of a preset with options. Part of an id only where there are any.

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

    def __post_init__(self) -> None:
        faults = Faults("training")
        faults.number("learning_rate", self.learning_rate, minimum=0, below=_HUGE, open_=True)
        faults.number("beta1", self.beta1, minimum=0, below=1, open_=False)
        faults.number("beta2", self.beta2, minimum=0, below=1, open_=False)
        faults.number("epsilon", self.epsilon, minimum=0, below=_HUGE, open_=True)
        faults.whole_number("batch_size", self.batch_size, minimum=1, maximum=2**31 - 1)
        for key in ("weight_decay", "background_weight_decay"):
            faults.number(key, getattr(self, key), minimum=0, below=_HUGE, open_=False)
        faults.number("dropout", self.dropout, minimum=0, below=1, open_=False)
        faults.choice("normalization", self.normalization, list(Normalization))
        perturb = read_perturbations(faults, self.perturb)
        faults.raise_if_any()
        object.__setattr__(self, "perturb", perturb)
        object.__setattr__(self, "normalization", Normalization(self.normalization))
        for name in _FLOAT_FIELDS:
            object.__setattr__(self, name, float(getattr(self, name)))

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
            options = replace(get_preset(preset), **only_known(data, valid))
        except SpecError as error:
            faults.extend(error)
        faults.raise_if_any()
        assert options is not None
        return options

    def weight_decay_in(self, mode: str) -> float:
        """The decoupled weight decay that AdamW gets in this mode."""
        return self.weight_decay if get_mode(mode).uses_decay else self.background_weight_decay

    def dropout_in(self, mode: str) -> float:
        """The drop probability in this mode, 0 outside ``dropout``."""
        return self.dropout if get_mode(mode).uses_dropout else 0.0

    def perturbations_in(self, mode: str) -> tuple[Perturbation, ...]:
        """Perturbations of the update equation in this mode; the mode's own preset comes last."""
        own = get_mode(mode).perturbation
        return self.perturb if own is None else (*self.perturb, own)

    @property
    def decay_is_placebo(self) -> bool:
        """Whether decay cannot change a float32 weight and no other mode decays either."""
        import numpy as np

        factor = np.float32(1 - self.learning_rate * self.weight_decay)
        return bool(factor == np.float32(1)) and self.background_weight_decay == 0

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for JSON and TOML, in field order; ``perturb`` only where it is used."""
        values = {item.name: _plain(getattr(self, item.name)) for item in fields(self)}
        if not values["perturb"]:
            del values["perturb"]
        return values


_FLOAT_FIELDS = (
    "learning_rate",
    "beta1",
    "beta2",
    "epsilon",
    "weight_decay",
    "background_weight_decay",
    "dropout",
)

PRESETS: Mapping[str, TrainingOptions] = {
    "paper": TrainingOptions(),
    "table-v": TrainingOptions(background_weight_decay=0.01),
}
"""``paper``: as the paper describes. ``table-v``: as the data behind its Table V were produced,
with AdamW's default decay of 0.01 in every mode but ``decay``."""


def get_preset(name: str) -> TrainingOptions:
    """Look a preset up by name.

    Raises:
        SpecError: No such preset.
    """
    if name not in PRESETS:
        raise SpecError(f"preset {name!r} is unknown; {nearest(str(name), PRESETS)}")
    return PRESETS[name]


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
        get_mode(self.mode)
        faults = Faults("trial")
        faults.whole_number("trial", self.trial, minimum=1)
        faults.whole_number("meta_loops", self.meta_loops, minimum=1, maximum=MAX_META_LOOPS)
        faults.whole_number("seed", self.seed, minimum=0)
        faults.choice("pairing", self.pairing, list(Pairing))
        check_perturbations(faults, self.training, [self.mode])
        faults.raise_if_any()
        object.__setattr__(self, "pairing", Pairing(self.pairing))

    @property
    def weight_decay(self) -> float:
        """AdamW's decoupled weight decay in this trial's mode."""
        return self.training.weight_decay_in(self.mode)

    @property
    def dropout(self) -> float:
        """Drop probability in this trial's mode."""
        return self.training.dropout_in(self.mode)

    @property
    def perturbations(self) -> tuple[Perturbation, ...]:
        """Perturbations of the update equation in this trial's mode, in order."""
        return self.training.perturbations_in(self.mode)

    def streams(self) -> TrialStreams:
        """The named random streams of this trial."""
        return trial_streams(
            self.seed,
            architecture=self.architecture.name,
            mode=self.mode,
            trial=self.trial,
            pairing=self.pairing,
        )


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [item.to_mapping() for item in value]
    return str(value) if isinstance(value, StrEnum) else value


def check_perturbations(faults: Faults, training: TrainingOptions, modes: Iterable[str]) -> None:
    """Note every mode whose own preset cannot stand beside those of all modes."""
    common = {item.preset: item for item in training.perturb}
    closures = sorted(name for name, item in common.items() if item.facts.needs_closure)
    for mode in modes:
        own = get_mode(mode).perturbation if is_mode(mode) else None
        if own is None:
            continue
        if own.preset in common:
            faults.add(
                f"mode {mode!r} perturbs by {own.preset!r}, which training.perturb names for all "
                "modes; drop one of the two"
            )
        elif own.facts.needs_closure and closures:
            faults.add(
                f"mode {mode!r} and {closures[0]!r} of training.perturb both evaluate the gradient "
                "a second time, of which a step can have one"
            )
