"""A perturbed block keeps its weights parameter by parameter: the same numbers in another order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from antifragile.config.architecture import Architecture
from antifragile.fleet.layout import FlatLayout
from antifragile.fleet.torch.updates import ParameterMajor

widths = st.lists(st.integers(1, 6), min_size=1, max_size=4)


def layouts(hidden: list[int]) -> tuple[FlatLayout, ParameterMajor]:
    architecture = Architecture(tuple((1, width) for width in hidden))
    flat = FlatLayout(architecture=architecture, n_inputs=3, n_classes=2)
    return flat, ParameterMajor(flat=flat)


@given(widths, st.integers(1, 5))
def test_gathering_and_scattering_moves_every_number_once(hidden: list[int], replicas: int) -> None:
    flat, by_parameter = layouts(hidden)
    weights = torch.arange(float(replicas * flat.n_parameters)).reshape(replicas, -1)
    buffer = by_parameter.gather(weights)
    assert torch.equal(buffer.flatten().sort().values, weights.flatten())
    back = torch.full_like(weights, -1)
    by_parameter.scatter(buffer, back)
    assert torch.equal(back, weights)


@given(widths, st.integers(1, 5))
def test_both_orders_hold_the_same_parameters(hidden: list[int], replicas: int) -> None:
    flat, by_parameter = layouts(hidden)
    weights = torch.randn(replicas, flat.n_parameters)
    buffer = by_parameter.gather(weights)
    for layer in range(len(flat.sizes) - 1):
        assert torch.equal(by_parameter.weight(buffer, layer), flat.weight(weights, layer))
        assert torch.equal(by_parameter.bias(buffer, layer), flat.bias(weights, layer))
    parameters = by_parameter.parameters(buffer)
    assert all(part.is_contiguous() for part in parameters)
    assert sum(part.numel() for part in parameters) == weights.numel()


@pytest.mark.parametrize("replicas", [1, 3])
def test_parameters_are_views(replicas: int) -> None:
    flat, by_parameter = layouts([4, 2])
    buffer = by_parameter.gather(torch.zeros(replicas, flat.n_parameters))
    for number, part in enumerate(by_parameter.parameters(buffer), start=1):
        part.fill_(number)
    assert (buffer > 0).all()
