"""Gradients that are scaled, not finite, or skipped by a gradient scaler."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from antifragile.optim import Along, Rademacher, RatioToGradient, Rule, perturb, presets
from tests.optim.small_training import Point, batch, descend, network, weights_of


def test_a_broken_gradient_does_not_break_the_controller() -> None:
    model = Point([3.0, 4.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    handle = perturb(optimizer, Rule("weight", Rademacher(), RatioToGradient(0.1)))
    descend(model, optimizer, 1)
    before = handle.metrics()[0]
    optimizer.zero_grad()
    (model() * float("nan")).backward()
    optimizer.step()
    after = handle.metrics()[0]
    assert after["scale"] == before["scale"]
    assert after["controller"] == before["controller"]
    with handle.clean():
        model.w.data = model.w.data.nan_to_num(0.0)


def test_a_broken_gradient_makes_no_lagged_perturbation() -> None:
    model = Point([3.0, 4.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    perturb(optimizer, Rule("weight", Along("grad"), 0.1))
    model.w.grad = torch.tensor([float("inf"), 1.0])
    optimizer.step()
    assert not model.w.isinf().any()


def test_gradients_in_scaled_units_get_scaled_noise() -> None:
    ends = []
    for fused in (False, True):
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
        perturb(optimizer, Rule("grad", Rademacher(), RatioToGradient(0.5)), model=model)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for number in range(4):
            x, y = batch(number)
            optimizer.zero_grad()
            scaler.scale(cross_entropy(model(x), y)).backward()
            scaler.step(optimizer)
            scaler.update()
        ends.append(weights_of(model))
    assert all(torch.allclose(ends[0][k], ends[1][k], atol=1e-5) for k in ends[0])


@pytest.mark.parametrize("fused", [False, True])
def test_a_skipped_step_does_not_count(fused: bool) -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    handle = perturb(
        optimizer,
        presets.annealed_gradient_noise(),
        presets.anti_pgd(),
        presets.sgld(),
        model=model,
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before, noisy = weights_of(model), None
    for number, breaks in enumerate((True, False)):
        optimizer.zero_grad()
        loss = cross_entropy(model(batch(number)[0]), batch(number)[1])
        noisy = model[0].weight.detach().clone() if noisy is None else noisy
        scaler.scale(loss * (float("inf") if breaks else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        if breaks:
            assert handle.step_number == 0
            assert torch.equal(model[0].weight, noisy)
            same = ("0.weight", "0.bias", "3.weight", "3.bias")
            assert all(torch.equal(weights_of(model)[k], before[k]) for k in same)
    assert handle.step_number == 1
