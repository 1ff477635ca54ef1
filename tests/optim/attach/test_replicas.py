"""A batched run equals its single runs: the same noise, norms and scales per replica."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from antifragile.errors import UsageError
from antifragile.optim import (
    Anti,
    Curvature,
    Gaussian,
    GradVariance,
    InitLike,
    Noise,
    Power,
    Rademacher,
    RatioToGradient,
    Revive,
    Rule,
    Sphere,
    Uniform,
    perturb,
    presets,
)

R, SEEDS = 3, (11, 2, 2**63 + 7)
NOISES: list[Noise] = [Gaussian(), Rademacher(), Uniform(), InitLike(), Sphere(), Sphere(True)]
CONTROLLERS: list[Any] = [
    RatioToGradient(0.3, memory=0.5),
    GradVariance(Power(0.01)),
    Curvature(0.1, warmup=2),
    Revive(Power(0.01)),
]


def starts(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """First weights: matrix, vector and matrix of R replicas."""
    generator = torch.Generator().manual_seed(5)
    shapes = [(R, 7, 5), (R, 7), (R, 2, 7)]
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def losses(w: list[Tensor], x: Tensor) -> Tensor:
    """Loss of each replica, (R,), for parameters with a leading replica dimension."""
    hidden = torch.relu(torch.einsum("bi,roi->rbo", x, w[0]) + w[1][:, None])
    return torch.einsum("rbo,rco->rbc", hidden, w[2]).square().mean(dim=(1, 2))


def run(
    rules: Any, parameters: list[Tensor], steps: int = 6, **options: Any
) -> tuple[list[Tensor], Any]:
    parameters = [nn.Parameter(p.clone()) for p in parameters]
    optimizer = torch.optim.Adam(parameters, lr=0.05)
    handle = perturb(optimizer, rules, **options)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(6, 5, generator=generator, dtype=parameters[0].dtype)
        optimizer.zero_grad()
        batched = [p if "replicas" in options else p[None] for p in parameters]
        losses(batched, x).sum().backward()
        optimizer.step()
    return [p.detach() for p in parameters], handle


@pytest.mark.parametrize("noise", NOISES, ids=repr)
def test_replicas_draw_the_bits_of_single_runs(noise: Noise) -> None:
    rule = Rule("weight", noise, 0.1)
    together = [nn.Parameter(torch.zeros_like(p)) for p in starts(torch.float32)]
    perturb(torch.optim.SGD(together, lr=0.1), rule, seed=SEEDS, replicas=R)
    for r, seed in enumerate(SEEDS):
        alone = [nn.Parameter(torch.zeros_like(p[r])) for p in starts(torch.float32)]
        perturb(torch.optim.SGD(alone, lr=0.1), rule, seed=seed)
        for many, one in zip(together, alone, strict=True):
            if isinstance(noise, Sphere):
                assert torch.allclose(many[r], one, rtol=1e-6, atol=0)
            else:
                assert torch.equal(many[r], one)


@pytest.mark.parametrize("place", ["grad", "weight", "step"])
@pytest.mark.parametrize("scale", [0.1, *CONTROLLERS], ids=repr)
def test_a_batched_run_is_its_single_runs(scale: Any, place: str) -> None:
    rule = Rule(place, Gaussian(), scale)
    together, _ = run(rule, starts(), seed=SEEDS, replicas=R)
    for r, seed in enumerate(SEEDS):
        alone, _ = run(rule, [p[r] for p in starts()], seed=seed)
        for many, one in zip(together, alone, strict=True):
            assert torch.allclose(many[r], one, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    "rules",
    [
        presets.msam(),
        presets.sam_lagged(),
        presets.asam_lagged(),
        presets.random_weight_perturbation(0.1),
        presets.psgld(),
        presets.pgd(threshold=1e9, wait=2),
        presets.shrink_and_perturb(every=2),
        presets.stochastic_reset(rate=0.5, fraction=0.5),
        presets.stochastic_reset(rate=0.5, fraction=0.5, fresh=True),
        (Rule("step", Anti(Gaussian()), 0.1),),
    ],
    ids=lambda rules: str(rules[0].noise),
)
def test_every_kind_of_preset_works_per_replica(rules: Any) -> None:
    together, _ = run(rules, starts(), seed=SEEDS, replicas=R)
    for r, seed in enumerate(SEEDS):
        alone, _ = run(rules, [p[r] for p in starts()], seed=seed)
        for many, one in zip(together, alone, strict=True):
            assert torch.allclose(many[r], one, rtol=1e-9, atol=1e-11)


def test_one_broken_replica_leaves_the_others_their_controllers() -> None:
    parameter = nn.Parameter(torch.ones(R, 4))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    handle = perturb(optimizer, Rule("grad", Rademacher(), RatioToGradient(1.0)), replicas=R)
    for scale in (1.0, 2.0):
        parameter.grad = scale * torch.ones(R, 4)
        if scale == 2.0:
            parameter.grad[1] = float("nan")
        optimizer.step()
    assert handle.metrics()[0]["scale"].tolist() == pytest.approx([2.0, 1.0, 2.0])


def test_an_integer_seed_counts_upward() -> None:
    _, handle = run(presets.sgld(), starts(), steps=0, seed=4, replicas=R)
    assert handle.seeds == (4, 5, 6)


def test_replicas_need_their_dimension() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(4, 2))], lr=0.1)
    with pytest.raises(UsageError, match=r"shape \(4, 2\); with replicas=3"):
        perturb(optimizer, presets.sgld(), replicas=3)


def test_metrics_are_per_replica() -> None:
    _, handle = run(presets.annealed_gradient_noise(), starts(), seed=SEEDS, replicas=R)
    handle.metrics()
    assert handle.metrics()[0]["noise_norm"].shape == (R,)
