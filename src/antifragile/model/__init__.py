"""Stage 3: networks, and the ablation of single neurons as pure functions on weights."""

from antifragile.model.ablation import AblationReport, AblationTarget, ablate, choose_target
from antifragile.model.networks import Dropout, SimpleMLP, Weights, clone_weights, initialise

__all__ = [
    "AblationReport",
    "AblationTarget",
    "Dropout",
    "SimpleMLP",
    "Weights",
    "ablate",
    "choose_target",
    "clone_weights",
    "initialise",
]
