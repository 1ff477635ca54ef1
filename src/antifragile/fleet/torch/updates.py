"""The optimizers of a block of replicas: a fresh AdamW over all weights, perturbed or not.

Unperturbed, one fused AdamW runs over the flat buffer. The rules of `antifragile.optim` act on
parameters one by one, with replicas on the leading dimension of each. So a perturbed block keeps
its weights parameter by parameter, and AdamW sees a list of them, as in the engine:

    flat                     replica 0's parameters, replica 1's, ...          (R, P)
    parameter by parameter   parameter 0 of all replicas, parameter 1 of all, ...

Replica r draws from the stream of its own trial: the noise is the engine's, bit for bit.

Shape letters: R replicas (slots of a block, padding included), P parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from antifragile.config.networks import BlockNorm
from antifragile.config.perturbation import Perturbation
from antifragile.config.specs.training import TrainingOptions
from antifragile.engine.perturbation import rules_of
from antifragile.fleet.layout import FlatLayout
from antifragile.optim.attach.perturb import perturb


def why_not_batched(
    perturbations: Sequence[Perturbation], block_norm: BlockNorm = BlockNorm.NONE
) -> str | None:
    """Explain in a clause why no kernel can train this; None when one can."""
    if block_norm is not BlockNorm.NONE:
        return f"no kernel has block_norm {block_norm}"
    for item in perturbations:
        if item.facts.needs_closure:
            return f"{item.preset} evaluates the gradient twice a step, which no kernel does"
        if not item.facts.batched:
            return f"no kernel has {item.preset}"
    return None


def parameter_major(layout: FlatLayout, buffer: Tensor) -> list[Tensor]:
    """View every parameter in a buffer (R, P) that holds parameter after parameter.

    The views are contiguous, with the replicas on their leading dimension.
    """
    replicas = len(buffer)
    parts = torch.split(buffer.view(-1), [replicas * count for count in layout.counts])
    return [part.view(replicas, *s) for part, s in zip(parts, layout.shapes, strict=True)]


class Update(Protocol):
    """An optimizer of the weights of a block.

    Args:
        weights: (R, P), the point at which the next gradients are computed.
        gradients: (R, P), to be filled before every step.
    """

    weights: Tensor
    gradients: Tensor
    optimizer: torch.optim.Optimizer

    def parameters(self, buffer: Tensor) -> list[Tensor]:
        """View every parameter in a buffer (R, P) of the order of weights and gradients."""

    def split(self, buffer: Tensor) -> list[Tensor]:
        """View a buffer (R, P) of replica after replica as the optimizer's own parameters."""

    def step(self) -> None:
        """Update the weights from the gradients."""

    def finish(self) -> None:
        """Write the clean weights back to the block's weights."""


class FlatAdamW:
    """AdamW over the flat buffer; weight decay differs between slots and is applied first.

    Args:
        layout: Layout of the block's weights.
        weights: (R, P), updated in place.
        options: The training options.
        keep: (R, 1) factors of decoupled weight decay, one per slot.
    """

    def __init__(
        self, layout: FlatLayout, weights: Tensor, options: TrainingOptions, keep: Tensor
    ) -> None:
        self.parameters = layout.parameters
        self.weights, self.keep = weights, keep
        self.decays = bool((keep != 1).any())
        self.gradients = weights.grad = torch.zeros_like(weights)
        self.optimizer = _fresh_adamw([weights], options)

    def split(self, buffer: Tensor) -> list[Tensor]:
        """View a buffer (R, P) as the optimizer's one parameter."""
        return [buffer]

    def step(self) -> None:
        """Update the weights from the gradients."""
        if self.decays:
            self.weights.mul_(self.keep)
        self.optimizer.step()

    def finish(self) -> None:
        """Release the gradients; the weights were updated in place."""
        self.weights.grad = None


class PerturbedAdamW:
    """A fresh AdamW over a block's weights with perturbation rules attached.

    Args:
        layout: Layout of the block's weights.
        weights: (R, P) of all slots; written back by `finish`.
        options: The training options.
        keep: (R, 1) factors of decoupled weight decay, one per slot.
        perturbations: Perturbations of the update equation, the same for all slots.
        keys: The 64-bit key of each slot's perturbation stream.
        first_step: Steps of the slots' meta-loops before this epoch.
    """

    def __init__(
        self,
        layout: FlatLayout,
        weights: Tensor,
        options: TrainingOptions,
        keep: Tensor,
        *,
        perturbations: Sequence[Perturbation],
        keys: Sequence[int],
        first_step: int,
    ) -> None:
        self.parameters, self.split = partial(parameter_major, layout), layout.parameters
        self.own = layout.parameters(weights)
        self.weights = torch.cat([view.flatten() for view in self.own]).view_as(weights)
        self.gradients = torch.zeros_like(self.weights)
        parameters = [torch.nn.Parameter(view) for view in self.parameters(self.weights)]
        for parameter, gradient in zip(parameters, self.parameters(self.gradients), strict=True):
            parameter.grad = gradient
        self.optimizer = _fresh_adamw(parameters, options)
        rules = rules_of(perturbations)
        self.handle = perturb(
            self.optimizer, *rules, seed=list(keys), replicas=len(keys), first_step=first_step
        )
        if bool((keep != 1).any()):
            # After the rules' own hook, which restores the clean weights: decay acts on those.
            self.optimizer.register_step_pre_hook(lambda *_: self._decay(keep))

    def step(self) -> None:
        """Update the weights from the gradients."""
        self.optimizer.step()

    def finish(self) -> None:
        """Write the clean weights back to the block's weights."""
        self.handle.remove()
        for view, clean in zip(self.own, self.parameters(self.weights), strict=True):
            view.copy_(clean)

    def _decay(self, keep: Tensor) -> None:
        for parameter in self.parameters(self.weights):
            parameter.mul_(keep.view(-1, *[1] * (parameter.dim() - 1)))


def _fresh_adamw(parameters: Sequence[Tensor], options: TrainingOptions) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        parameters,
        lr=options.learning_rate,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon,
        weight_decay=0.0,
        fused=True,
        capturable=parameters[0].is_cuda,
    )
