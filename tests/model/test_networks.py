"""SimpleMLP: the paper's equations 3-5, and PyTorch's own initialisation."""

import torch
from torch import nn

from antifragile.config.architecture import Architecture
from antifragile.model.networks import SimpleMLP, clone_weights, initialise


def test_forward_is_linear_relu_stacks_and_a_linear_head() -> None:
    model = SimpleMLP(Architecture.parse("[1*3, 1*2]"), 4, 5)
    initialise(model, generator=torch.Generator().manual_seed(1))
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(2))
    w = clone_weights(model)
    hidden = x
    for index in range(2):
        hidden = (hidden @ w[f"layers.{index}.weight"].T + w[f"layers.{index}.bias"]).clamp(min=0)
    expected = hidden @ w["layers.2.weight"].T + w["layers.2.bias"]
    assert torch.allclose(model(x), expected, atol=1e-6)


def test_initialisation_is_pytorchs_own() -> None:
    torch.manual_seed(5)
    stack = [nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 5)]
    model = SimpleMLP(Architecture.parse("2*3"), 4, 5)
    initialise(model, generator=torch.Generator().manual_seed(5))
    for ours, theirs in zip(model.layers, stack, strict=True):
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.bias, theirs.bias)


def test_building_a_network_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model = SimpleMLP(Architecture.parse("3*8"), 4, 5)
    initialise(model, generator=torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_acts_after_every_hidden_relu_and_nowhere_else() -> None:
    model = SimpleMLP(Architecture.parse("3*2"), 4, 5)
    initialise(model, generator=torch.Generator().manual_seed(1))
    seen = []

    def dropout(layer: int, hidden: torch.Tensor) -> torch.Tensor:
        assert (hidden >= 0).all()
        seen.append((layer, tuple(hidden.shape)))
        return hidden * 0

    logits = model(torch.randn(6, 4), dropout)
    assert seen == [(0, (6, 2)), (1, (6, 2)), (2, (6, 2))]
    assert torch.equal(logits, model.layers[-1].bias.expand(6, 5))


def test_parameter_count_is_equation_1() -> None:
    architecture = Architecture.parse("[2*128, 1*10]")
    model = SimpleMLP(architecture, 20, 7)
    assert sum(p.numel() for p in model.parameters()) == architecture.parameter_count(20, 7)
