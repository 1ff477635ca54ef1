"""A flat row and named weights are two views of the same numbers."""

from __future__ import annotations

import pytest
import torch

from antifragile.config.architecture import Architecture
from antifragile.config.modes import get_mode
from antifragile.fleet.layout import FlatLayout
from antifragile.model.networks import SimpleMLP, clone_weights
from antifragile.model.neurons import AblationTarget, ablate


def layout_of(architecture: str) -> FlatLayout:
    return FlatLayout(architecture=Architecture.parse(architecture), n_inputs=5, n_classes=3)


def test_a_row_is_the_state_dict_in_order() -> None:
    layout = layout_of("[2*4, 1*2]")
    flat = torch.arange(layout.n_parameters, dtype=torch.float32)
    views = layout.views(flat)
    model = SimpleMLP(layout.architecture, 5, 3)
    assert list(views) == list(model.state_dict())
    assert torch.equal(torch.cat([value.flatten() for value in views.values()]), flat)
    assert layout.n_parameters == layout.architecture.parameter_count(5, 3)


def test_views_share_memory_and_flatten_copies_back() -> None:
    layout = layout_of("2*4")
    weights = clone_weights(SimpleMLP(layout.architecture, 5, 3).double())
    weights = {name: torch.rand_like(value) for name, value in weights.items()}
    flat = layout.flatten(weights, layout.empty(1, torch.float64, "cpu")[0])
    assert all(torch.equal(weights[name], view) for name, view in layout.views(flat).items())
    layout.views(flat)["layers.1.bias"].zero_()
    assert (layout.parameters(flat)[3] == 0).all()


@pytest.mark.parametrize(("mode", "layer"), [("full", 0), ("hidden", 1), ("output", 2)])
def test_ablating_a_row_is_ablating_the_weights(mode: str, layer: int) -> None:
    layout = layout_of("2*4")
    ablation = get_mode(mode).ablation
    assert ablation is not None
    target = AblationTarget(ablation=ablation, layer=layer, neuron=1)
    flat = torch.rand(layout.n_parameters)
    expected = {name: value.clone() for name, value in layout.views(flat).items()}
    ablate(expected, target)
    other = flat.clone()
    ablate(layout.views(flat), target)
    assert all(torch.equal(expected[name], view) for name, view in layout.views(flat).items())
    assert not torch.equal(flat, other)
