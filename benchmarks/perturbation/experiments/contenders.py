"""Methods of the learning-rate experiment, each with the three magnitudes it may choose from.

The middle magnitude is the preset's default where it has one for problems of this size; the
others are a factor of three to ten away. Every method has three, or nothing to choose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from antifragile.optim import presets
from antifragile.optim.rules import Rule

Rules = Callable[[float], tuple[Rule, ...]]

FIVE = ("annealed_gradient_noise", "random_weight_perturbation", "anti_pgd", "msam", "sam_lagged")
"""The presets that MNIST takes: noise on the gradient, on the weights in two ways, two SAMs."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A method with the number it has to choose.

    Args:
        name: Name in the table; a preset's own.
        magnitudes: Three, or one where there is nothing to choose.
        rules: Makes the rules of a preset from the magnitude.
        closure: It takes a second gradient in the step.
        decays: The magnitude is weight decay.
        drops_out: The magnitude is the share of dropout.
    """

    name: str
    magnitudes: tuple[float, ...]
    rules: Rules | None = None
    closure: bool = False
    decays: bool = False
    drops_out: bool = False

    @property
    def is_preset(self) -> bool:
        """Say whether it is one of ours, not a control."""
        return self.rules is not None


CONTENDERS = (
    Contender(name="none", magnitudes=(0.0,)),
    Contender(name="weight decay", magnitudes=(1e-4, 1e-3, 1e-2), decays=True),
    Contender(name="dropout", magnitudes=(0.05, 0.1, 0.2), drops_out=True),
    Contender(
        name="annealed_gradient_noise",
        magnitudes=(1e-4, 1e-3, 1e-2),
        rules=presets.annealed_gradient_noise,
    ),
    Contender(name="pgd", magnitudes=(0.01, 0.1, 1.0), rules=lambda r: presets.pgd(r, 0.1)),
    Contender(
        name="sgld",
        magnitudes=(1e-3, 1e-2, 1e-1),
        rules=lambda temperature: presets.sgld(temperature, n_samples=1000),
    ),
    Contender(
        name="psgld",
        magnitudes=(1e-3, 1e-2, 1e-1),
        rules=lambda temperature: presets.psgld(temperature, n_samples=1000),
    ),
    Contender(
        name="random_weight_perturbation",
        magnitudes=(0.003, 0.01, 0.03),
        rules=presets.random_weight_perturbation,
    ),
    Contender(name="anti_pgd", magnitudes=(0.003, 0.01, 0.03), rules=presets.anti_pgd),
    Contender(name="msam", magnitudes=(0.03, 0.1, 0.3), rules=presets.msam),
    Contender(name="sam", magnitudes=(0.02, 0.05, 0.2), rules=presets.sam, closure=True),
    Contender(name="asam", magnitudes=(0.2, 0.5, 2.0), rules=presets.asam, closure=True),
    Contender(name="sam_lagged", magnitudes=(0.02, 0.05, 0.2), rules=presets.sam_lagged),
    Contender(name="asam_lagged", magnitudes=(0.2, 0.5, 2.0), rules=presets.asam_lagged),
    Contender(
        name="shrink_and_perturb",
        magnitudes=(0.6, 0.9, 0.98),
        rules=lambda shrink: presets.shrink_and_perturb(shrink, every=100),
    ),
    Contender(
        name="stochastic_reset", magnitudes=(1e-3, 1e-2, 3e-2), rules=presets.stochastic_reset
    ),
    Contender(name="input_noise", magnitudes=(0.03, 0.1, 0.3), rules=presets.input_noise),
)
