"""Values by which units are ranked, against the same computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from antifragile.config.architecture import Architecture
from antifragile.config.modifiers.records import NeuronRank
from antifragile.data.splits import Split
from antifragile.errors import UsageError
from antifragile.model.networks import SimpleMLP, initialise
from antifragile.model.ranks import neuron_values
from antifragile.model.units.find import find_units
from antifragile.model.units.records import Unit, UnitKind
from antifragile.model.units.values import activations, gradients, magnitudes
from antifragile.model.units.watching.prepare import Inputs

PIXELS = torch.randn(12, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 3


def mlp() -> SimpleMLP:
    """The paper's network without biases, which its neurons' ranks leave out."""
    model = SimpleMLP(Architecture.parse("2*5"), 6, 3, dtype=torch.float64)
    initialise(model, generator=torch.Generator().manual_seed(1))
    for layer in model.layers:
        layer.bias.data.zero_().requires_grad_(False)
    return model


def layers_of(model: nn.Module, inputs: Tensor) -> list[tuple[Unit, ...]]:
    return [group.units for group in find_units(model, inputs).groups]


@pytest.mark.parametrize("rank", ["least-magnitude", "least-activation", "least-gradient"])
def test_a_plain_network_s_units_have_the_values_of_its_neurons(rank: str) -> None:
    model = mlp()
    expected = neuron_values(
        NeuronRank(rank), model.state_dict(), mlp(), Split(images=PIXELS, labels=LABELS)
    )
    for layer in model.layers:
        layer.bias.requires_grad_(True)
    layers = layers_of(model, PIXELS)
    parameters = dict(model.named_parameters())
    for layer in model.layers:
        layer.bias.requires_grad_(False)
    if rank.endswith("magnitude"):
        found = magnitudes(layers, parameters)
    elif rank.endswith("activation"):
        found = activations(layers, model, Inputs.of(PIXELS))
    else:
        found = gradients(layers, parameters, model, lambda m: cross_entropy(m(PIXELS), LABELS))
    assert len(found) == len(expected) == 3
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(torch.tensor(ours), torch.tensor(theirs), rtol=1e-12)


def test_a_channel_is_measured_where_the_next_layer_reads_it() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(4 * 9, 2),
    )  # fmt: skip
    images = torch.randn(5, 1, 8, 8)
    model.train()
    channels = next(g for g in find_units(model, images).groups if g.kind is UnitKind.CHANNEL)
    [found] = activations([channels.units], model, Inputs.of(images))
    assert model.training
    with torch.no_grad():
        pooled = model[:4].eval()(images)  # (B, 4, 3, 3)
    assert found == pytest.approx(pooled.abs().mean((0, 2, 3)).tolist(), rel=1e-6)


def test_an_attention_head_is_measured_where_the_projection_reads_it() -> None:
    torch.manual_seed(3)
    model = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(3, 4, 8)
    inputs = Inputs.of({"query": x, "key": x, "value": x, "need_weights": False})
    heads = next(g for g in find_units(model, inputs).groups if g.kind is UnitKind.HEAD)
    read: list[Tensor] = []
    product = nn.functional.scaled_dot_product_attention
    with torch.no_grad():
        q, k, v = (
            part.unflatten(2, (2, 4)).transpose(1, 2)
            for part in nn.functional.linear(x, model.in_proj_weight, model.in_proj_bias).chunk(
                3, dim=2
            )
        )
        read.append(product(q, k, v).abs().mean((0, 2, 3)))  # (heads,)
    [found] = activations([heads.units], model.eval(), inputs)
    assert found == pytest.approx(read[0].tolist(), rel=1e-5)


def test_a_layer_that_is_called_twice_has_the_mean_of_its_calls() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.down(self.up(x).relu()) + self.down(self.up(2 * x).relu())

    torch.manual_seed(4)
    model, x = Twice(), torch.randn(6, 3)
    hidden = next(g for g in find_units(model, x).groups if g.kind is UnitKind.NEURON)
    [found] = activations([hidden.units], model, Inputs.of(x))
    with torch.no_grad():
        sizes = [model.up(scale * x).relu().mean(0) for scale in (1, 2)]
    assert found == pytest.approx(((sizes[0] + sizes[1]) / 2).tolist(), rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [lambda m: 1.0, lambda m: m(PIXELS), lambda m: torch.zeros(())],
    ids=["number", "logits", "constant"],
)
def test_a_loss_without_a_gradient_is_refused(loss: object) -> None:
    model = mlp()
    with pytest.raises(UsageError, match="loss returned no scalar tensor with a gradient"):
        gradients([], dict(model.named_parameters()), model, loss)  # type: ignore[arg-type]
