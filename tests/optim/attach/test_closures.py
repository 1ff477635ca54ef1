"""Exact SAM rules take a second gradient through the closure of the step."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
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
    class Twice(torch.optim.SGD):
        @torch.no_grad()
        def step(self, closure: Callable[[], torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
            closure()
            return closure()

    model = Point([1.0, 2.0])
    optimizer = Twice(model.parameters())
    perturb(optimizer, presets.annealed_gradient_noise())
    with pytest.raises(UsageError, match="Twice calls its closure more than once"):
        optimizer.step(closure_of(model, optimizer))


def test_lbfgs_is_refused_before_it_moves() -> None:
    optimizer = torch.optim.LBFGS(Point([1.0, 2.0]).parameters())
    with pytest.raises(UsageError, match="LBFGS evaluates its closure more than once in a step"):
        perturb(optimizer, presets.annealed_gradient_noise())


@pytest.mark.parametrize("clears", [True, False])
def test_gradients_of_the_first_pass_do_not_leak_into_the_second(clears: bool) -> None:
    model = Point([3.0, 4.0], curvature=2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.sam(rho=0.5))

    def closure() -> torch.Tensor:
        if clears:
            optimizer.zero_grad()
        loss = model()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert torch.allclose(model.w, torch.tensor([3.0, 4.0]) - 0.2 * torch.tensor([3.3, 4.4]))


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("clears", [True, False])
def test_a_closure_that_adds_to_earlier_gradients_is_refused(clears: bool, to_none: bool) -> None:
    model = Point([3.0, 4.0], curvature=2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.sam(rho=0.5))
    model().backward()

    def closure() -> torch.Tensor:
        if clears:
            optimizer.zero_grad(set_to_none=to_none)
        loss = model()
        loss.backward()
        return loss

    if clears:
        optimizer.step(closure)
        assert torch.allclose(model.w, torch.tensor([3.0, 4.0]) - 0.2 * torch.tensor([3.3, 4.4]))
        return
    with pytest.raises(UsageError, match=r"added to gradients of earlier batches \(accumulation\)"):
        optimizer.step(closure)
    assert model.w.tolist() == [3.0, 4.0]


def test_a_closure_that_fails_leaves_earlier_gradients_as_they_were() -> None:
    model = Point([3.0, 4.0], curvature=2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.sam(rho=0.5))
    model().backward()
    before = model.w.grad.clone()  # type: ignore[union-attr]

    def closure() -> torch.Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        optimizer.step(closure)
    assert torch.equal(model.w.grad, before)  # type: ignore[arg-type]


def test_the_second_gradient_under_autocast_is_of_the_climbed_weights() -> None:
    ends = []
    for rho in (5.0, 1e-12):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        perturb(optimizer, presets.sam(rho), model=model)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            take_steps(model, optimizer, [0], closure=True)
        ends.append(weights_of(model)["0.weight"])
    assert not torch.equal(*ends)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.InstanceNorm1d])
def test_statistics_are_counted_once(norm: type[nn.Module]) -> None:
    layer = norm(4, track_running_stats=True)
    model = nn.Sequential(nn.Conv1d(3, 4, 3), layer)
    once = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    perturb(optimizer, presets.sam(1.0), model=model)
    x = torch.randn(4, 3, 9)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(x).square().mean() + model[0](x).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    once(x)
    for name, buffer in once.named_buffers():
        assert torch.equal(buffer, dict(model.named_buffers())[name])
