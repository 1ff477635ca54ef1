"""Random noise is drawn into every dtype and memory layout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from antifragile.optim import Gaussian, InitLike, Noise, Rademacher, Rule, Sphere, Uniform, perturb
from tests.optim.small_training import are_equal, weights_of


@pytest.mark.parametrize("noise", [Gaussian(), Rademacher(), Uniform(), InitLike(), Sphere()])
def test_every_noise_can_be_drawn_into_every_dtype(noise: Noise) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        model = nn.Linear(6, 5).to(dtype)
        before = weights_of(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        handle = perturb(optimizer, Rule("weight", noise, 0.5), seed=0)
        assert not torch.equal(model.weight, before["weight"])
        handle.remove()
        assert are_equal(weights_of(model), before)


def test_a_tensor_that_is_not_contiguous_gets_the_same_numbers() -> None:
    dense, strided = nn.Linear(6, 5, bias=False), nn.Linear(6, 5, bias=False)
    strided.weight = nn.Parameter(dense.weight.detach().t().contiguous().t())
    for model in (dense, strided):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        perturb(optimizer, Rule("weight", Gaussian(), 0.5), seed=0)
    assert torch.equal(dense.weight, strided.weight)
