"""Targets drawn as a mode without modifiers draws them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from antifragile.config.modes import Ablation
from antifragile.model.neurons import AblationTarget, target_at


def choose_target(
    ablation: Ablation, layer_sizes: Sequence[int], *, rng: np.random.Generator
) -> AblationTarget:
    """Draw the neuron to ablate; ``layer_sizes`` are the units from input to logits."""
    widths = layer_sizes[1:]
    return target_at(ablation, widths, *ablation.choose(widths, rng))
