"""Weights after perturbed steps, for each place and preset, against updates written by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from antifragile.optim import Anti, Gaussian, On, Power, Rademacher, Rule, perturb, presets
from tests.optim.small_training import Point, descend, noise_at, weights_of


def test_gradient_noise_is_added_to_the_gradient() -> None:
    model = Point([1.0, -2.0, 3.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, Rule("grad", Gaussian(), Power(0.04, 0.55)), seed=7)
    w = model.w.detach().clone()
    for step in range(5):
        scale = 0.2 * (1 + step) ** (-0.55 / 2)
        w = w - 0.1 * (w + scale * noise_at(w, step=step, seed=7))
        descend(model, optimizer, 1)
        assert torch.allclose(model.w, w, atol=1e-6)


def test_step_noise_is_added_after_the_step_for_good() -> None:
    model = Point([1.0, -2.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, Rule("step", Gaussian(), 0.5), seed=0)
    w = model.w.detach().clone()
    for step in range(3):
        w = w - 0.1 * w + 0.5 * noise_at(w, step=step)
    descend(model, optimizer, 3)
    assert torch.allclose(model.w, w, atol=1e-6)


def test_weight_noise_is_there_for_the_gradient_alone() -> None:
    model = Point([1.0, -2.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = perturb(optimizer, Rule("weight", Gaussian(), 0.5), seed=0)
    w = torch.tensor([1.0, -2.0])
    for step in range(4):
        assert torch.equal(model.w, w + 0.5 * noise_at(w, step=step))
        w = w - 0.1 * (w + 0.5 * noise_at(w, step=step))
        descend(model, optimizer, 1)
        with handle.clean():
            assert torch.allclose(model.w, w, atol=1e-6)
            w = model.w.detach().clone()


def test_weight_noise_is_anti_pgd_seen_from_the_clean_weights() -> None:
    starts = [0.3, -1.0, 2.0]
    seen, printed = Point(starts), Point(starts)
    one = torch.optim.SGD(seen.parameters(), lr=0.1)
    perturb(one, Rule("weight", Gaussian(), 0.2), seed=0)
    with torch.no_grad():
        printed.w.add_(0.2 * noise_at(printed.w, step=0))
    two = torch.optim.SGD(printed.parameters(), lr=0.1)
    for step in range(30):
        descend(seen, one, 1)
        descend(printed, two, 1)
        with torch.no_grad():
            now, then = noise_at(printed.w, step=step), noise_at(printed.w, step=step + 1)
            printed.w.add_(0.2 * (then - now))
        assert torch.allclose(seen.w, printed.w, atol=1e-5)


def test_anticorrelated_noise_telescopes_and_ends_with_its_window() -> None:
    model = Point([1.0, 2.0], curvature=0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, Rule("step", Anti(Gaussian()), On(0.5, until=4)), seed=0)
    start = model.w.detach().clone()
    for step in range(4):
        descend(model, optimizer, 1)
        assert torch.allclose(model.w, start + 0.5 * noise_at(start, step=step), atol=1e-6)
    descend(model, optimizer, 2)
    assert torch.allclose(model.w, start, atol=1e-6)


def test_lagged_sam_climbs_along_the_last_gradient() -> None:
    model = Point([3.0, 4.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.sam_lagged(rho=0.5))
    descend(model, optimizer, 1)
    assert torch.allclose(model.w, torch.tensor([2.7, 3.6]) + 0.5 * torch.tensor([0.6, 0.8]))


def test_msam_is_the_authors_update() -> None:
    model = Point([3.0, -1.0, 0.5])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    perturb(optimizer, presets.msam(rho=0.3))
    clean, momentum = model.w.detach().clone(), torch.zeros(3)
    seen = clean
    for _ in range(6):
        momentum = 0.9 * momentum + seen
        clean = clean - 0.1 * momentum
        seen = clean - 0.3 * momentum / momentum.norm()
        descend(model, optimizer, 1)
        assert torch.allclose(model.w, seen, atol=1e-6)


def test_random_weight_perturbation_is_in_units_of_the_filters_norm() -> None:
    model = nn.Linear(400, 3, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0], [0.1], [1.0]]).expand(3, 400))
    before = model.weight.detach().clone()
    perturb(torch.optim.SGD(model.parameters(), lr=0.1), presets.random_weight_perturbation(0.01))
    spread = (model.weight.detach() - before).std(dim=1)
    assert float(spread[0]) == 0
    assert spread[1:].tolist() == pytest.approx([0.01 * 2.0, 0.01 * 20.0], rel=0.15)


def test_shrink_and_perturb_shrinks_matrices_now_and_then() -> None:
    model = nn.Linear(50, 40)
    before = weights_of(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    perturb(optimizer, presets.shrink_and_perturb(shrink=0.6, sigma=0.1, every=2))
    for _ in range(2):
        model(torch.zeros(1, 50)).sum().backward()
        optimizer.step()
    assert torch.equal(model.bias, before["bias"])
    rest = model.weight - 0.6 * before["weight"]
    assert 0 < float(rest.detach().abs().max()) <= 0.1001 / math.sqrt(50)


def test_a_reset_takes_weights_back_and_their_moments_to_zero() -> None:
    model = nn.Linear(30, 30, bias=False)
    before = model.weight.detach().clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    perturb(optimizer, presets.stochastic_reset(rate=1.0, fraction=0.25))
    model(torch.ones(1, 30)).sum().backward()
    optimizer.step()
    back = model.weight == before
    assert 0.15 < float(back.float().mean()) < 0.35
    state = optimizer.state[model.weight]
    assert torch.equal(state["exp_avg"] == 0, back)
    assert torch.equal(state["exp_avg_sq"] == 0, back)


def test_pgd_kicks_inside_a_ball_where_the_gradient_is_small() -> None:
    model = Point([0.0] * 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    perturb(optimizer, presets.pgd(radius=0.3, threshold=1e-9, wait=5))
    descend(model, optimizer, 1)
    assert 0 < model.w.norm().item() <= 0.3


def test_sgld_noise_follows_the_learning_rate() -> None:
    model = Point([0.0] * 10_000, curvature=0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    perturb(optimizer, presets.sgld(temperature=2.0, n_samples=4))
    descend(model, optimizer, 1)
    assert model.w.std().item() == pytest.approx(math.sqrt(2 * 0.02 * 2 / 4), rel=0.03)


def test_psgld_on_plain_sgd_moves_in_the_metric_of_its_own_squares() -> None:
    model = Point([2.0, -4.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.psgld(temperature=0.0, decay=0.75, floor=1e-9))
    descend(model, optimizer, 1)
    # V = g^2 / 4, so G g = 2 sign(g)
    assert torch.allclose(model.w, torch.tensor([1.8, -3.8]))


def test_rules_compose() -> None:
    model = Point([1.0, -2.0, 0.5])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(
        optimizer,
        Rule("weight", Gaussian(), 0.3),
        Rule("grad", Gaussian(), 0.2),
        Rule("weight", Rademacher(), 0.0),
        [Rule("step", Gaussian(), 0.1)],
        seed=0,
    )
    w = torch.tensor([1.0, -2.0, 0.5])
    for step in range(3):
        seen = w + 0.3 * noise_at(w, step=step, rule=0)
        gradient = seen + 0.2 * noise_at(w, step=step, rule=1)
        w = w - 0.1 * gradient + 0.1 * noise_at(w, step=step, rule=3)
    descend(model, optimizer, 3)
    assert torch.allclose(model.w, w + 0.3 * noise_at(w, step=3, rule=0), atol=1e-6)


def test_accumulated_gradients_see_one_perturbation_and_get_one_noise() -> None:
    model = Point([1.0, -1.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, Rule("grad", Gaussian(), 0.5), seed=0)
    for _ in range(3):
        model().backward()
    w = model.w.detach().clone()
    optimizer.step()
    assert torch.allclose(model.w, w - 0.1 * (3 * w + 0.5 * noise_at(w, step=0)))
