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
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from antifragile.config.perturbation import Perturbation
from antifragile.config.run import TrainingOptions
from antifragile.engine.perturbation import rules_of
from antifragile.fleet.layout import FlatLayout
from antifragile.optim.attach.perturb import perturb


def why_not_batched(perturbations: Sequence[Perturbation]) -> str | None:
    """Explain in a clause why no kernel can train under these perturbations; None when one can."""
    for item in perturbations:
        if item.facts.needs_closure:
            return f"{item.preset} evaluates the gradient twice a step, which no kernel does"
        if not item.facts.batched:
            return f"no kernel has {item.preset}"
    return None


@dataclass(frozen=True, kw_only=True)
class ParameterMajor:
    """The position of each parameter in a buffer (R, P) that holds parameter after parameter.

    Has the methods of `FlatLayout`, for the other order of the same numbers.
    """

    flat: FlatLayout

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units from input to logits, length L + 2."""
        return self.flat.sizes

    def weight(self, buffer: Tensor, layer: int) -> Tensor:
        """The weight matrices of one layer, (R, fan_out, fan_in), contiguous."""
        fan_in, fan_out = self.sizes[layer], self.sizes[layer + 1]
        start = self.flat.starts[layer]
        return self._part(buffer, start, fan_out * fan_in).view(-1, fan_out, fan_in)

    def bias(self, buffer: Tensor, layer: int) -> Tensor:
        """The biases of one layer, (R, fan_out), contiguous."""
        fan_out = self.sizes[layer + 1]
        return self._part(buffer, self.flat.starts[layer + 1] - fan_out, fan_out)

    def parameters(self, buffer: Tensor) -> list[Tensor]:
        """Views of every parameter, in the order of the state dict."""
        layers = range(len(self.sizes) - 1)
        return [part(buffer, layer) for layer in layers for part in (self.weight, self.bias)]

    def gather(self, weights: Tensor) -> Tensor:
        """Copy replicas (R, P) into this order."""
        buffer = torch.empty_like(weights)
        for layer in range(len(self.sizes) - 1):
            self.weight(buffer, layer).copy_(self.flat.weight(weights, layer))
            self.bias(buffer, layer).copy_(self.flat.bias(weights, layer))
        return buffer

    def scatter(self, buffer: Tensor, weights: Tensor) -> None:
        """Copy a buffer of this order back into replicas (R, P)."""
        for layer in range(len(self.sizes) - 1):
            self.flat.weight(weights, layer).copy_(self.weight(buffer, layer))
            self.flat.bias(weights, layer).copy_(self.bias(buffer, layer))

    def _part(self, buffer: Tensor, start: int, size: int) -> Tensor:
        replicas = len(buffer)
        return buffer.view(-1)[replicas * start : replicas * (start + size)].view(replicas, size)


Layout = FlatLayout | ParameterMajor


class Update(Protocol):
    """An optimizer of the weights of a block.

    Args:
        layout: Layout of weights and gradients.
        weights: (R, P), the point at which the next gradients are computed.
        gradients: (R, P), to be filled before every step.
    """

    layout: Layout
    weights: Tensor
    gradients: Tensor

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
        self.layout: Layout = layout
        self.weights, self.keep = weights, keep
        self.decays = bool((keep != 1).any())
        self.gradients = weights.grad = torch.zeros_like(weights)
        self.optimizer = _fresh_adamw([weights], options)

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
        flat: Layout of the block's weights.
        weights: (R, P) of all slots; written back by `finish`.
        options: The training options.
        keep: (R, 1) factors of decoupled weight decay, one per slot.
        perturbations: Perturbations of the update equation, the same for all slots.
        keys: The 64-bit key of each slot's perturbation stream.
        first_step: Steps of the slots' meta-loops before this epoch.
    """

    def __init__(
        self,
        flat: FlatLayout,
        weights: Tensor,
        options: TrainingOptions,
        keep: Tensor,
        *,
        perturbations: Sequence[Perturbation],
        keys: Sequence[int],
        first_step: int,
    ) -> None:
        self.layout: Layout = (layout := ParameterMajor(flat=flat))
        self.by_parameter, self.flat_weights = layout, weights
        self.weights = layout.gather(weights)
        self.gradients = torch.zeros_like(self.weights)
        parameters = [torch.nn.Parameter(view) for view in layout.parameters(self.weights)]
        for parameter, gradient in zip(parameters, layout.parameters(self.gradients), strict=True):
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
        self.by_parameter.scatter(self.weights, self.flat_weights)

    def _decay(self, keep: Tensor) -> None:
        for parameter in self.by_parameter.parameters(self.weights):
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
