"""Metrics of a rule: how much it adds, and how large the gradient is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from antifragile.optim.attach.attached_rule import AttachedRule
from antifragile.optim.attach.perturbed_optimizer import PerturbedOptimizer
from antifragile.optim.noise.norms import joint_norm
from antifragile.optim.rules import Place


def metrics_of(core: PerturbedOptimizer, attached: AttachedRule) -> dict[str, Any]:
    """Measure one rule, for `Handle.metrics`."""
    noise = _noise_norm(core, attached)
    gradient = _gradient_norm(attached)
    return {
        "where": str(attached.rule.where),
        "scale": attached.value,
        "noise_norm": noise,
        "gradient_norm": gradient,
        "ratio": _ratio(noise, gradient),
        "controller": {key: array.tolist() for key, array in attached.controller.items()},
    }


def _gradient_norm(attached: AttachedRule) -> float | Tensor | None:
    norm = attached.gradient_norm
    if norm is None:
        return None
    return float(norm[0]) if attached.replicas is None else torch.from_numpy(norm)


def _ratio(noise: float | Tensor | None, gradient: float | Tensor | None) -> float | Tensor | None:
    if noise is None or gradient is None:
        return None
    if isinstance(gradient, Tensor):
        return noise / gradient
    return float(noise) / gradient if gradient else float("inf")


@torch.no_grad()
def _noise_norm(core: PerturbedOptimizer, attached: AttachedRule) -> float | Tensor | None:
    """Norm of the noise at its present scale, drawn once more; None for inputs."""
    if attached.rule.where is Place.INPUT:
        return None
    if attached.is_off:
        return 0.0 if attached.replicas is None else torch.zeros(attached.replicas)
    if attached.rule.where is Place.WEIGHT:
        weights = [core.weights.clean(index) for index in attached.indices]
    else:
        weights = [parameter.detach() for parameter in attached.parameters]
    site = replace(attached.site(core.stream(attached), range(len(weights)), weights), reset=None)
    moved = [weight.clone() for weight in weights]
    attached.rule.noise.add(site, moved, attached.sizes)
    torch._foreach_sub_(moved, weights)
    norm = joint_norm(moved, is_batched=attached.replicas is not None)
    return float(norm) if attached.replicas is None else norm
