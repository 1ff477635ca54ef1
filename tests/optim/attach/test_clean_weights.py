"""Clean weights come back bit for bit, and writes under a perturbation are noticed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from antifragile.errors import UsageError
from antifragile.optim import Gaussian, Rademacher, Rule, perturb, presets
from tests.optim.small_training import BASES, Point, are_equal, network, take_steps, weights_of


def test_storage_is_never_reassigned() -> None:
    model = network()
    before = [p.data_ptr() for p in model.parameters()]
    optimizer = BASES["adam"](model.parameters())
    perturb(optimizer, presets.anti_pgd(), presets.sam(), presets.sgld(), model=model)
    take_steps(model, optimizer, range(3), closure=True)
    weights_of(model)
    assert [p.data_ptr() for p in model.parameters()] == before


@pytest.mark.parametrize("steps", [0, 1])
def test_weights_beyond_every_cache_come_back_bit_for_bit(steps: int) -> None:
    large = nn.Parameter(torch.rand(2**23 + 3))
    before = large.detach().clone()
    optimizer = torch.optim.SGD([large, nn.Parameter(torch.rand(5))], lr=0.0)
    handle = perturb(optimizer, Rule("weight", Rademacher(), 0.1))
    assert not torch.equal(large, before)
    for _ in range(steps):
        large.grad = torch.zeros_like(large)
        optimizer.step()
    handle.remove()
    assert torch.equal(large, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_may_change_their_dtype_while_lifted(dtype: torch.dtype) -> None:
    model = nn.Linear(300, 300)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    handle = perturb(optimizer, Rule("weight", Rademacher(), 0.1))
    with handle.clean():
        model.to(dtype)
        before = weights_of(model)
    assert not torch.equal(model.weight, before["weight"])
    model(torch.ones(1, 300, dtype=dtype)).sum().backward()
    optimizer.step()
    with handle.clean():
        assert are_equal(weights_of(model), before)


def test_weights_written_under_a_perturbation_are_not_silently_lost() -> None:
    model = Point([1.0, 2.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, Rule("weight", Gaussian(), 0.1))
    model().backward()
    with torch.no_grad():
        model.w.clamp_(-1, 1)
    with pytest.raises(UsageError, match=r"1 parameters \(.*\) were written while a perturbation"):
        optimizer.step()
