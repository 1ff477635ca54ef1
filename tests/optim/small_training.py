"""A small network, batches by number, and the optimizers that every preset must work on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from antifragile.optim import PRESETS, Rule
from antifragile.optim.noise.streams import Stream, draw, normal_levels

Optimizer = torch.optim.Optimizer

BASES: dict[str, Callable[[Iterable[Any]], Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd-momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "adamw-fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "adam-foreach": lambda p: torch.optim.Adam(p, lr=0.01, foreach=True),
}
NEEDS_CLOSURE = ("sam", "asam")

_OFTEN: dict[str, dict[str, Any]] = {
    "pgd": {"threshold": 10.0, "wait": 3},
    "shrink_and_perturb": {"every": 7},
    "stochastic_reset": {"rate": 0.3},
    "neftune": {"inputs": None},  # the network has no token ids
}


def rules_of(name: str) -> tuple[Rule, ...]:
    """A preset, made to act within ten steps and on the small network, which has no token ids."""
    return PRESETS[name](**_OFTEN.get(name, {}))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def batch(number: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(100 + number)
    x = torch.randn(16, 8, generator=generator)
    return x, torch.randint(0, 3, (16,), generator=generator)


def take_steps(
    model: nn.Module, optimizer: Optimizer, steps: Iterable[int], *, closure: bool = False
) -> list[float]:
    """Train on the batches with those numbers; returns the losses."""
    model.train()
    losses = []
    for number in steps:
        x, y = batch(number)

        def evaluate(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            return loss

        loss = optimizer.step(evaluate) if closure else evaluate()
        if not closure:
            optimizer.step()
        losses.append(loss.item())
    return losses


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def are_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


class Point(nn.Module):
    """One vector of parameters with the loss <slope, w> + curvature |w|^2 / 2."""

    def __init__(self, start: list[float], *, curvature: float = 1.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(start))
        self.curvature = curvature

    def forward(self) -> Tensor:
        return self.curvature * self.w.square().sum() / 2


def noise_at(parameter: Tensor, *, step: int, seed: int = 0, rule: int = 0) -> Tensor:
    """Gaussian noise of a parameter that is the optimizer's first."""
    stream = Stream(keys=(seed,), step=step, rule=rule)
    return draw(stream, normal_levels(), [0], [parameter])[0]


def descend(model: Point, optimizer: Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model().backward()
        optimizer.step()


def closure_of(model: Point, optimizer: Optimizer) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model()
        loss.backward()
        return loss

    return closure
