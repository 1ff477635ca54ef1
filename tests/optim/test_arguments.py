"""Arguments of `perturb` and numbers of rules: what no training stands is refused in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from antifragile.errors import UsageError
from antifragile.optim import Rule, perturb
from antifragile.optim.noise.drawn import Gaussian, Rademacher
from antifragile.optim.scale.schedules import Constant, Scale

RULE = Rule("weight", Gaussian(), 0.01)


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD(torch.nn.Linear(3, 2).parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 1}, "model is 1; expected the torch.nn.Module that is called."),
        ({"replicas": 2**64}, "replicas is 18446744073709551616; expected a whole number from 1"),
        ({"replicas": 10**400}, "replicas is a whole number of 1329 bits; expected"),
        ({"replicas": 0}, "replicas is 0; expected a whole number from 1 to 1048576."),
        ({"replicas": True}, "replicas is True; expected a whole number"),
        ({"first_step": -1}, "first_step is -1; expected a whole number from 0"),
        ({"first_step": 1.5}, "first_step is 1.5; expected a whole number"),
        ({"first_step": 10**400}, "first_step is a whole number of 1329 bits"),
        ({"seed": ["a", 1], "replicas": 2}, "expected at least 0 and below 2"),
        ({"seed": "12", "replicas": 2}, "expected at least 0 and below 2"),
        ({"seed": 2**64}, "expected at least 0 and below 2"),
    ],
)
def test_a_wrong_argument_is_one_sentence(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        perturb(optimizer(), RULE, **arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("size", [1e308, float("inf"), float("nan"), 10**400, -1, True, "1"])
def test_a_scale_that_no_weight_stands_is_refused(size: Any) -> None:
    with pytest.raises(UsageError, match=r"the constant scale is .*expected a finite number"):
        Constant(size)
    with pytest.raises(UsageError, match="expected a finite number"):
        Rule("weight", Rademacher(), size)


@dataclass(frozen=True)
class Endless(Scale):
    size: float

    def at(self, step: Any) -> Any:
        return np.full_like(step, self.size)


@pytest.mark.parametrize("size", [float("inf"), float("nan"), 1e30])
def test_a_scale_of_ones_own_is_checked_before_the_first_step(size: float) -> None:
    with pytest.raises(UsageError, match=r"the scale Endless.* at step 0; expected at most 1e\+18"):
        perturb(optimizer(), Rule("weight", Rademacher(), Endless(size)))


def test_the_largest_scale_leaves_weights_finite() -> None:
    used = optimizer()
    perturb(used, Rule("step", Rademacher(), 1e18))
    (group,) = used.param_groups
    for parameter in group["params"]:
        parameter.grad = torch.ones_like(parameter)
    for _ in range(3):
        used.step()
    assert all(bool(parameter.isfinite().all()) for parameter in group["params"])


def test_a_preset_that_needs_arguments_is_named() -> None:
    with pytest.raises(UsageError, match="cannot be called without arguments"):
        perturb(optimizer(), lambda size: Rule("weight", Gaussian(), size))
