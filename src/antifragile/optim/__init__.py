"""Stage 4: perturbed update equations. A rule is place x noise x scale, on any torch optimizer."""

from antifragile.optim import presets
from antifragile.optim.attach.handle import Handle
from antifragile.optim.attach.perturb import perturb
from antifragile.optim.attach.saving import HandleState
from antifragile.optim.noise.base import Noise
from antifragile.optim.noise.composed import Anti, Filterwise, Preconditioned, Samplewise
from antifragile.optim.noise.directed import Along, Toward
from antifragile.optim.noise.drawn import (
    Gaussian,
    InitLike,
    Rademacher,
    Sphere,
    Uniform,
)
from antifragile.optim.presets import PRESETS
from antifragile.optim.rules import Place, Rule
from antifragile.optim.scale.norm_controllers import RatioToGradient, Revive, WhenSmallGradient
from antifragile.optim.scale.sample_controllers import Curvature, GradVariance
from antifragile.optim.scale.schedules import (
    Chance,
    Constant,
    Cosine,
    Langevin,
    On,
    Power,
    Proportional,
    Scale,
)
from antifragile.optim.scale.signals import Signals

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
    "Samplewise",
    "Scale",
    "Signals",
    "Sphere",
    "Toward",
    "Uniform",
    "WhenSmallGradient",
    "perturb",
    "presets",
]
