"""Exact SAM rules take a second gradient through the closure of the step."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from antifragile.errors import UsageError
from antifragile.optim import perturb, presets
from tests.optim.small_training import (
    BASES,
    Point,
    batch,
    closure_of,
    network,
    take_steps,
    weights_of,
)


def test_sam_takes_the_gradient_uphill() -> None:
    model = Point([3.0, 4.0], curvature=2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.sam(rho=0.5))
    loss = optimizer.step(closure_of(model, optimizer))
    assert loss.item() == 25.0
    assert torch.allclose(model.w, torch.tensor([3.0, 4.0]) - 0.2 * torch.tensor([3.3, 4.4]))


def test_asam_measures_in_units_of_the_weights() -> None:
    w, g = torch.tensor([3.0, -0.5]), torch.tensor([6.0, -1.0])
    model = Point(w.tolist(), curvature=2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.asam(rho=0.5, floor=0.0))
    t = w.abs()
    climbed = w + 0.5 * t**2 * g / (t * g).norm()
    optimizer.step(closure_of(model, optimizer))
    assert torch.allclose(model.w, w - 0.1 * 2 * climbed)


def test_sam_does_not_count_batch_statistics_twice() -> None:
    model = network()
    optimizer = BASES["sgd"](model.parameters())
    perturb(optimizer, presets.sam(), model=model)
    take_steps(model, optimizer, range(3), closure=True)
    assert int(model[1].num_batches_tracked) == 3


def test_exact_sam_without_a_closure_is_refused_before_anything_moves() -> None:
    model = network()
    optimizer = BASES["sgd"](model.parameters())
    perturb(optimizer, presets.sam())
    before = weights_of(model)
    cross_entropy(model(batch(0)[0]), batch(0)[1]).backward()
    with pytest.raises(UsageError, match=r"needs optimizer\.step\(closure\).*Use sam_lagged"):
        optimizer.step()
    assert torch.equal(model[0].weight, before["0.weight"])


def test_an_optimizer_that_calls_its_closure_again_is_refused() -> None:
    model = Point([1.0, 2.0])
    optimizer = torch.optim.LBFGS(model.parameters())
    perturb(optimizer, presets.annealed_gradient_noise())
    with pytest.raises(UsageError, match="LBFGS calls its closure more than once"):
        optimizer.step(closure_of(model, optimizer))
