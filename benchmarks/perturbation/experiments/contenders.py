"""Methods of the learning-rate experiment, each with the three magnitudes it may choose from.

The middle magnitude is the preset's default where it has one for problems of this size; the
others are a factor of three to ten away. Every method has three, or nothing to choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from antifragile.optim.presets import PRESETS
from antifragile.optim.rules import Rule

FIVE = ("annealed_gradient_noise", "random_weight_perturbation", "anti_pgd", "msam", "sam_lagged")
"""The presets that MNIST takes: noise on the gradient, on the weights in two ways, two SAMs."""


@dataclass(frozen=True)
class Contender:
    """A method with the number it has to choose.

    Args:
        name: Name in the table; a preset's own.
        magnitudes: Three, or one where there is nothing to choose.
        options: Further arguments of a preset.
        closure: It takes a second gradient in the step.
        decays: The magnitude is weight decay.
        drops_out: The magnitude is the share of dropout.
    """

    name: str
    magnitudes: tuple[float, ...]
    options: Mapping[str, float] = field(default_factory=dict)
    closure: bool = False
    decays: bool = False
    drops_out: bool = False

    @property
    def is_preset(self) -> bool:
        """Say whether it is one of ours, not a control."""
        return self.name in PRESETS

    def rules(self, magnitude: float) -> tuple[Rule, ...]:
        """The rules of a preset; none of a control."""
        return PRESETS[self.name](magnitude, **self.options) if self.is_preset else ()


CONTENDERS = (
    Contender("none", (0.0,)),
    Contender("weight decay", (1e-4, 1e-3, 1e-2), decays=True),
    Contender("dropout", (0.05, 0.1, 0.2), drops_out=True),
    Contender("annealed_gradient_noise", (1e-4, 1e-3, 1e-2)),
    Contender("pgd", (0.01, 0.1, 1.0), {"threshold": 0.1}),
    Contender("sgld", (1e-3, 1e-2, 1e-1), {"n_samples": 1000}),
    Contender("psgld", (1e-3, 1e-2, 1e-1), {"n_samples": 1000}),
    Contender("random_weight_perturbation", (0.003, 0.01, 0.03)),
    Contender("anti_pgd", (0.003, 0.01, 0.03)),
    Contender("msam", (0.03, 0.1, 0.3)),
    Contender("sam", (0.02, 0.05, 0.2), closure=True),
    Contender("asam", (0.2, 0.5, 2.0), closure=True),
    Contender("sam_lagged", (0.02, 0.05, 0.2)),
    Contender("asam_lagged", (0.2, 0.5, 2.0)),
    Contender("shrink_and_perturb", (0.6, 0.9, 0.98), {"every": 100}),
    Contender("stochastic_reset", (1e-3, 1e-2, 3e-2)),
    Contender("input_noise", (0.03, 0.1, 0.3)),
)
