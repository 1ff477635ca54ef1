"""The problems that perturbations are tried on: each agrees with what is known of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.perturbation.experiments.posterior import predicted_error
from benchmarks.perturbation.problems.gaussian import (
    agreement,
    effective_sample_size,
    make_posterior,
)
from benchmarks.perturbation.problems.octopus import Octopus
from benchmarks.perturbation.problems.regression import make_regression


def octopus(*smoothness: float) -> Octopus:
    return Octopus(smoothness=torch.tensor(smoothness, dtype=torch.float64))


def test_the_octopus_has_its_minimum_at_the_end_of_the_tube() -> None:
    function = octopus(1.0, 3.0)
    bottom = torch.full((2, 5), 4 * math.e, dtype=torch.float64)
    assert torch.allclose(function(bottom), function.minimum(5))
    for direction in torch.eye(5, dtype=torch.float64):
        assert (function(bottom + 0.1 * direction) > function.minimum(5)).all()


def test_the_octopus_has_a_saddle_at_the_origin_and_one_per_region() -> None:
    function = octopus(2.0)
    for k in range(5):
        point = torch.zeros(1, 5, dtype=torch.float64)
        point[0, :k] = 4 * math.e  # k coordinates have passed
        assert function(point).item() == pytest.approx(-k * function.nu.item())
        along, across = point.clone(), point.clone()
        along[0, k] += 0.5
        assert function(along) < function(point)
        if k + 1 < 5:
            across[0, k + 1] += 0.5
            assert function(across) > function(point)


@st.composite
def in_the_tube(draw: st.DrawFn) -> list[float]:
    """Draw a point in 4 dimensions: some coordinates have passed, the others have not."""
    n_passed = draw(st.integers(0, 4))
    passed = [draw(st.floats(2 * math.e, 6 * math.e)) for _ in range(n_passed)]
    ahead = [draw(st.floats(0, 2 * math.e)) for _ in range(4 - n_passed)]
    return [draw(st.sampled_from([-1, 1])) * size for size in (*passed, *ahead)]


@given(in_the_tube(), st.sampled_from([1.0, 1.5, 2.0, 3.0]))
def test_the_octopus_is_symmetric_and_never_below_its_minimum(
    point: list[float], smoothness: float
) -> None:
    function, x = octopus(smoothness), torch.tensor([point], dtype=torch.float64)
    assert torch.equal(function(x), function(-x))
    assert function(x) >= function.minimum(4) - 1e-9


def test_the_octopus_is_smooth_where_its_pieces_meet() -> None:
    function, step = octopus(1.5), 1e-6
    for edge in (math.e, 2 * math.e):  # of the first region
        slopes = []
        for side in (-1, 1):
            x = torch.tensor([[edge + side * step, 0.3, 0.0]], dtype=torch.float64)
            x.requires_grad_()
            slopes.append(torch.autograd.grad(function(x).sum(), x)[0])
        assert torch.allclose(slopes[0], slopes[1], atol=1e-3)


def test_the_trace_of_the_regression_is_that_of_autograd() -> None:
    problem = make_regression([3], d=6, n=4, sparsity=2)
    hessian = torch.autograd.functional.hessian(
        lambda w: problem.loss(w).sum(), problem.start, strict=True
    )
    trace = hessian.view(6, 6).trace()
    assert problem.hessian_trace(problem.start).item() == pytest.approx(trace.item())


def test_the_regressions_test_loss_is_what_fresh_data_give() -> None:
    problem = make_regression([0], d=6, n=4, sparsity=2)
    x = torch.randn(200_000, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    misfit = x @ (problem.start.square() - problem.truth)[0]
    assert misfit.square().mean().item() / 4 == pytest.approx(
        problem.test_loss(problem.start).item(), rel=0.02
    )
    assert problem.test_loss(problem.truth.sqrt()).item() == 0


def test_a_problem_belongs_to_its_seed_alone() -> None:
    pair, alone = make_regression([5, 6]), make_regression([6])
    assert torch.equal(pair.inputs[1], alone.inputs[0])
    assert torch.equal(pair.start[1], alone.start[0])


def test_the_posterior_has_its_mode_at_its_mean_and_batches_estimate_its_potential() -> None:
    target = make_posterior(0)
    mean = target.mean[None].clone().requires_grad_()
    slope = torch.autograd.grad(target.potential(mean).sum(), mean)[0]
    assert torch.allclose(slope, torch.zeros_like(slope), atol=1e-9)
    every = torch.arange(target.n)[None]
    w = torch.ones(1, target.d, dtype=torch.float64)
    assert torch.allclose(target.potential(w, every), target.potential(w))


def test_independent_draws_count_in_full_and_sticky_ones_in_part() -> None:
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((4000, 8))
    assert effective_sample_size(noise) == pytest.approx(32_000, rel=0.1)
    sticky = np.zeros_like(noise)
    for step in range(1, len(noise)):
        sticky[step] = 0.9 * sticky[step - 1] + noise[step]
    # an autoregression has n (1 - a) / (1 + a) independent draws
    assert effective_sample_size(sticky) == pytest.approx(32_000 / 19, rel=0.2)


def test_draws_of_the_posterior_agree_with_it_and_wider_ones_do_not() -> None:
    target = make_posterior(1)
    root = torch.linalg.cholesky(target.covariance).numpy()
    noise = np.random.default_rng(0).standard_normal((500, 100, target.d))
    good = agreement(target.mean.numpy() + noise @ root.T, target)
    wide = agreement(target.mean.numpy() + 1.1 * noise @ root.T, target)
    assert good.mean_error < 0.02
    assert good.covariance_error < 0.02
    assert wide.covariance_error == pytest.approx(0.21, abs=0.02)


def test_the_predicted_bias_vanishes_with_the_step() -> None:
    target = make_posterior(0)
    errors = [predicted_error(target, step) for step in (0.4, 0.04, 0.004)]
    assert errors[0] == pytest.approx(0.0894, abs=0.03)
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.05)
