"""A perturbed block keeps its weights parameter by parameter: the same numbers in another order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from antifragile.config.architecture import Architecture
from antifragile.config.perturbation import Perturbation
from antifragile.config.specs.training import TrainingOptions
from antifragile.fleet.layout import FlatLayout
from antifragile.fleet.torch.updates import PerturbedAdamW, parameter_major

widths = st.lists(st.integers(1, 6), min_size=1, max_size=4)


def layout_of(hidden: list[int]) -> FlatLayout:
    architecture = Architecture(tuple((1, width) for width in hidden))
    return FlatLayout(architecture=architecture, n_inputs=3, n_classes=2)


def perturbed(layout: FlatLayout, weights: torch.Tensor) -> PerturbedAdamW:
    replicas = len(weights)
    return PerturbedAdamW(
        layout,
        weights,
        TrainingOptions(),
        torch.ones(replicas, 1),
        perturbations=[Perturbation.of("annealed_gradient_noise")],
        keys=list(range(replicas)),
        first_step=0,
    )


@settings(deadline=None)
@given(widths, st.integers(1, 5))
def test_gathering_and_scattering_moves_every_number_once(hidden: list[int], replicas: int) -> None:
    layout = layout_of(hidden)
    weights = torch.arange(float(replicas * layout.n_parameters)).reshape(replicas, -1)
    before = weights.clone()
    update = perturbed(layout, weights)
    assert torch.equal(update.weights.flatten().sort().values, before.flatten())
    weights.fill_(-1)
    update.finish()
    assert torch.equal(weights, before)


@settings(deadline=None)
@given(widths, st.integers(1, 5))
def test_both_orders_hold_the_same_parameters(hidden: list[int], replicas: int) -> None:
    layout = layout_of(hidden)
    weights = torch.randn(replicas, layout.n_parameters)
    update = perturbed(layout, weights)
    parameters = update.parameters(update.weights)
    for ours, flat in zip(parameters, layout.parameters(weights), strict=True):
        assert torch.equal(ours, flat)
    assert all(part.is_contiguous() for part in parameters)
    assert sum(part.numel() for part in parameters) == weights.numel()


@pytest.mark.parametrize("replicas", [1, 3])
def test_parameters_are_views(replicas: int) -> None:
    layout = layout_of([4, 2])
    buffer = torch.zeros(replicas, layout.n_parameters)
    for number, part in enumerate(parameter_major(layout, buffer), start=1):
        part.fill_(number)
    assert (buffer > 0).all()
