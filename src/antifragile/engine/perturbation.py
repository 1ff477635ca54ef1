"""A trial's perturbed update equation: rules attached to the epoch's optimizer, and its clock.

PSA makes a fresh optimizer every epoch, and what a rule remembers - momentum, the previous
gradient, a controller's history - starts afresh with it. Its clock does not: steps are counted
over all meta-loops of the trial, promoted or not, so an annealed noise falls over the whole trial,
as its authors mean it, instead of coming back in full strength every epoch. Both the clock and the
noise are functions of the meta-loop and of the trial's stream ``perturbation``, so a checkpoint
holds no more than it did, and a trial can stop and go on anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from antifragile.config.perturbation import Perturbation
from antifragile.config.run import TrialSpec
from antifragile.config.seeds import TrialStreams
from antifragile.optim.attach.perturb import perturb
from antifragile.optim.presets import PRESETS
from antifragile.optim.rules import Rule


def rules_of(perturbations: Sequence[Perturbation]) -> tuple[Rule, ...]:
    """The rules that these presets stand for, in order."""
    return tuple(
        rule for item in perturbations for rule in PRESETS[item.preset](**dict(item.options))
    )


def needs_closure(perturbations: Sequence[Perturbation]) -> bool:
    """Whether a step evaluates the gradient itself."""
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
    """Perturb the optimizer's steps inside; after it, the weights are the clean ones.

    Args:
        optimizer: Fresh.
        spec: The trial.
        streams: Its streams.
        first_step: Steps of the trial's meta-loops before this one.
        model: What the optimizer trains.
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
