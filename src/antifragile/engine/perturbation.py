"""A trial's perturbed update equation: rules attached to the optimizer of each epoch.

PSA makes a fresh optimizer every epoch, and the memory of a rule - momentum, the previous gradient,
a controller's state - starts afresh with it. The step number does not: steps are counted over all
meta-loops of the trial, promoted or not, so that annealed noise decreases over the whole trial, as
its authors mean it, instead of returning to full strength every epoch. Step number and noise depend
only on the meta-loop and the trial's stream ``perturbation``. So a checkpoint needs no state of the
perturbation, and a trial can stop and resume after any meta-loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from antifragile.config.perturbation import Perturbation
from antifragile.config.seeds import TrialStreams
from antifragile.config.specs.trial import TrialSpec
from antifragile.optim.attach.perturb import perturb
from antifragile.optim.presets import PRESETS
from antifragile.optim.rules import Rule


def rules_of(perturbations: Sequence[Perturbation]) -> tuple[Rule, ...]:
    """Make the rules of these presets, in order."""
    return tuple(
        rule
        for item in perturbations
        for rule in (item.facts.rules or PRESETS[item.preset])(**dict(item.options))
    )


def needs_closure(perturbations: Sequence[Perturbation]) -> bool:
    """Whether a step evaluates the gradient itself, through a closure."""
    return any(item.facts.needs_closure for item in perturbations)


@contextmanager
def perturbed(
    optimizer: torch.optim.Optimizer,
    spec: TrialSpec,
    streams: TrialStreams,
    *,
    first_step: int,
    model: torch.nn.Module,
) -> Iterator[None]:
    """Perturb the optimizer's steps inside the block; after it, the weights are clean.

    Args:
        optimizer: A fresh optimizer.
        spec: The trial.
        streams: The trial's random streams.
        first_step: Number of steps in the trial's meta-loops before this one.
        model: The model that the optimizer trains.
    """
    if not spec.perturbations:
        yield
        return
    handle = perturb(
        optimizer,
        *rules_of(spec.perturbations),
        seed=streams.perturbation.key64,
        first_step=first_step,
        model=model,
    )
    try:
        yield
    finally:
        handle.remove()
