"""The numbers of the inner training loop, and their presets.

The defaults of `TrainingOptions` are the preset ``paper``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from antifragile._records import to_json
from antifragile.config._checks import Faults
from antifragile.config.modes import get_mode
from antifragile.config.networks import BlockNorm, Initialiser, Network
from antifragile.config.perturbation import Perturbation, read_perturbations
from antifragile.errors import SpecError, nearest

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

    def in_mode(self, mode: str) -> TrainingOptions:
        """These options with what the modifiers of a mode decide.

        The learning rate of a mode of several stretches may change between them; these are then
        the options of the stretches that do not say.
        """
        variation = get_mode(mode).variation
        own = {
            key: value
            for key in ("learning_rate", "initialisation")
            if (value := getattr(variation, key)) is not None
        }
        return replace(self, **own) if own else self

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
