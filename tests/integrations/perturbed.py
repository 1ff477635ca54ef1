"""A hand-written loop with a perturbed optimizer, by which a trainer's result is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from antifragile.optim import Handle, perturb, presets
from tests.integrations.digits import N_TRAIN, images, seeded_network

SEED, BATCH = 7, 32
N_BATCHES = N_TRAIN // BATCH
LAGGED = (*presets.random_weight_perturbation(), *presets.sam_lagged(), *presets.sgld(1e-9))
MIXED = (*LAGGED, *presets.annealed_gradient_noise(), *presets.input_noise())
"""Rules in weights, steps, gradients and inputs, with and without memory."""
Weights = dict[str, Tensor]


def adamw(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, 0.01, weight_decay=0.01)


def adamw_in_groups(model: nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer that Hugging Face's Trainer makes: biases, which do not decay, at last."""
    named = list(model.named_parameters())
    matrices = {"params": [p for name, p in named if "bias" not in name], "weight_decay": 0.01}
    biases = {"params": [p for name, p in named if "bias" in name], "weight_decay": 0.0}
    return torch.optim.AdamW([matrices, biases], 0.01)


def batches(order: Sequence[int] | None = None) -> list[tuple[Tensor, Tensor]]:
    """The training samples in batches, as they stand or in a given order."""
    x, y = images()
    rows = torch.arange(N_TRAIN) if order is None else torch.tensor(order)
    return [(x[part], y[part]) for part in rows.split(BATCH)]


class PlainLoop:
    """Training of the digits' network with rules on its optimizer.

    Args:
        rules: The rules; none trains without a perturbation.
        accumulate: Batches per step.
        clip: Largest norm of a gradient.
        schedules: Whether the rate falls by a tenth after every epoch.
        bf16: Whether forwards run in mixed precision.
        closure: Whether the step is given a closure.
        per_step: Acts after every step.
        optimizer: Makes the optimizer of a model.
    """

    def __init__(
        self,
        rules: Sequence[Any],
        *,
        accumulate: int = 1,
        clip: float | None = None,
        schedules: bool = False,
        bf16: bool = False,
        closure: bool = False,
        per_step: Callable[[nn.Module], None] = lambda model: None,
        optimizer: Callable[[nn.Module], torch.optim.Optimizer] = lambda m: adamw(m.parameters()),
    ) -> None:
        self.model = seeded_network()
        self.optimizer = optimizer(self.model)
        self.handle: Handle | None = None
        if rules:
            self.handle = perturb(self.optimizer, *rules, model=self.model, seed=SEED)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 1, 0.9 if schedules else 1)
        self._accumulate, self._clip, self._closure = accumulate, clip, closure
        self._bf16, self._per_step = bf16, per_step

    def train(self, n_epochs: int) -> PlainLoop:
        for _ in range(n_epochs):
            self.model.train()
            for number, batch in enumerate(batches(), start=1):
                self._train_batch(number, *batch)
            self.schedule.step()
        return self

    def weights(self) -> Weights:
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    def _train_batch(self, number: int, x: Tensor, y: Tensor) -> None:
        def evaluate() -> Tensor:
            self.optimizer.zero_grad()
            loss = self._backward(x, y)
            return loss

        if self._closure:
            self.optimizer.step(evaluate)
            self._per_step(self.model)
            return
        self._backward(x, y)
        if number % self._accumulate == 0 or number == N_BATCHES:
            if self._clip is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self._clip)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self._per_step(self.model)

    def _backward(self, x: Tensor, y: Tensor) -> Tensor:
        mixed = torch.autocast("cpu", torch.bfloat16) if self._bf16 else nullcontext()
        with mixed:
            loss = cross_entropy(self.model(x), y) / self._accumulate
        loss.backward()
        if self._closure and self._clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self._clip)
        return loss


def are_equal(one: Weights, other: Weights) -> bool:
    """Whether all weights are, bit for bit; names of wrappers do not count."""
    pairs = zip(one.values(), other.values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
