"""Stage 4: perturbed update equations. A rule is where x noise x scale, on any torch optimizer."""

from antifragile.optim import presets
from antifragile.optim.attach import perturb
from antifragile.optim.controllers import (
    Curvature,
    GradVariance,
    RatioToGradient,
    Revive,
    WhenSmallGradient,
)
from antifragile.optim.handle import Handle
from antifragile.optim.noise import (
    Along,
    Anti,
    Filterwise,
    Gaussian,
    InitLike,
    Noise,
    Preconditioned,
    Rademacher,
    Sphere,
    Toward,
    Uniform,
)
from antifragile.optim.presets import PRESETS
from antifragile.optim.rules import Place, Rule
from antifragile.optim.saving import HandleState
from antifragile.optim.scale import (
    Chance,
    Constant,
    Cosine,
    Langevin,
    On,
    Power,
    Proportional,
    Scale,
    Signals,
)

gaussian, rademacher, sphere, along, anti = Gaussian, Rademacher, Sphere, Along, Anti

__all__ = [
    "PRESETS",
    "Along",
    "Anti",
    "Chance",
    "Constant",
    "Cosine",
    "Curvature",
    "Filterwise",
    "Gaussian",
    "GradVariance",
    "Handle",
    "HandleState",
    "InitLike",
    "Langevin",
    "Noise",
    "On",
    "Place",
    "Power",
    "Preconditioned",
    "Proportional",
    "Rademacher",
    "RatioToGradient",
    "Revive",
    "Rule",
    "Scale",
    "Signals",
    "Sphere",
    "Toward",
    "Uniform",
    "WhenSmallGradient",
    "along",
    "anti",
    "gaussian",
    "perturb",
    "presets",
    "rademacher",
    "sphere",
]
