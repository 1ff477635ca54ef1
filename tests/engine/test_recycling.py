"""ReDo: which neurons are drawn anew, what becomes of their weights and moments, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from antifragile.config.architecture import Architecture
from antifragile.config.seeds import SeedTree
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine import epoch
from antifragile.engine.recycling import recycle_dormant
from antifragile.engine.trial import meta_loops
from antifragile.errors import SpecError
from antifragile.model.networks import SimpleMLP, clone_weights, initialise

STREAM = SeedTree(5)
IMAGES = torch.rand(40, 6, generator=torch.Generator().manual_seed(0))


def trained(dead: tuple[tuple[int, int], ...]) -> tuple[SimpleMLP, torch.optim.Optimizer]:
    """A network after one update, in which some hidden neurons never fire."""
    model = SimpleMLP(Architecture.parse("2*5"), 6, 3)
    initialise(model, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW(model.parameters())
    for layer in model.layers[:-1]:
        layer.bias.data += 3  # all others fire on every sample
    model(IMAGES).square().sum().backward()
    optimizer.step()
    for layer, neuron in dead:
        model.layers[layer].weight.data[neuron] = 0
        model.layers[layer].bias.data[neuron] = -1
    return model, optimizer


def moments(model: SimpleMLP, optimizer: torch.optim.Optimizer, name: str) -> list[torch.Tensor]:
    state = optimizer.state[dict(model.named_parameters())[name]]
    return [state["exp_avg"], state["exp_avg_sq"]]


def test_a_network_without_dormant_neurons_stays_as_it_is() -> None:
    model, optimizer = trained(())
    before = clone_weights(model)
    assert recycle_dormant(model, optimizer, IMAGES, stream=STREAM) == 0
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_dormant_neurons_get_fresh_incoming_weights_no_outgoing_ones_and_no_moments() -> None:
    model, optimizer = trained(((0, 1), (1, 4)))
    before = clone_weights(model)
    kept = {name: [m.clone() for m in moments(model, optimizer, name)] for name in before}
    assert recycle_dormant(model, optimizer, IMAGES, stream=STREAM) == 2
    fresh = SimpleMLP(model.architecture, 6, 3)
    initialise(fresh, generator=torch.Generator().manual_seed(STREAM.key64))
    drawn, after = clone_weights(fresh), clone_weights(model)
    expected = {name: value.clone() for name, value in before.items()}
    hit = {name: torch.zeros_like(value, dtype=torch.bool) for name, value in before.items()}
    for layer, neuron in ((0, 1), (1, 4)):
        for kind in ("weight", "bias"):
            name = f"layers.{layer}.{kind}"
            expected[name][neuron] = drawn[name][neuron]
            hit[name][neuron] = True
    for layer, neuron in ((0, 1), (1, 4)):
        expected[f"layers.{layer + 1}.weight"][:, neuron] = 0
        hit[f"layers.{layer + 1}.weight"][:, neuron] = True
    for name, value in after.items():
        assert torch.equal(value, expected[name]), name
        for moment, old in zip(moments(model, optimizer, name), kept[name], strict=True):
            assert torch.equal(moment, old.masked_fill(hit[name], 0)), name


def test_the_output_does_not_change_where_dormant_neurons_never_fired() -> None:
    model, optimizer = trained(((0, 1), (1, 4)))
    before = model(IMAGES)
    recycle_dormant(model, optimizer, IMAGES, stream=STREAM)
    assert torch.allclose(model(IMAGES), before, rtol=0, atol=1e-6)


def spec(mode: str, **training: object) -> TrialSpec:
    options = TrainingOptions(learning_rate=0.01, batch_size=5, **training)
    shape = Architecture.parse("2*6")
    return TrialSpec(dataset="tiny", architecture=shape, mode=mode, meta_loops=3, training=options)


def test_updates_are_counted_over_all_meta_loops(
    tiny: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str | int, ...]] = []

    def noting(*_: object, stream: SeedTree) -> int:
        seen.append(stream.path[-2:])
        return 0

    monkeypatch.setattr(epoch, "recycle_dormant", noting)
    steps = -(-tiny.train.n_samples // 5)
    list(meta_loops(spec("redo+every=4"), tiny))
    assert seen == [("recycled", n) for n in range(4, 3 * steps + 1, 4)]


def test_before_the_first_recycling_it_is_none(tiny: Dataset) -> None:
    ours, none = (
        [replace(record, seconds=0.0) for record, _ in meta_loops(spec(mode), tiny)]
        for mode in ("redo", "none")
    )
    assert ours == none, "1000 updates are more than this trial makes"


def test_it_knows_no_other_network() -> None:
    with pytest.raises(SpecError, match=r"of network 'mlp' anew, not of network 'resmlp'; use"):
        spec("redo+every=5", network="resmlp")


def test_it_cannot_stand_beside_a_perturbed_equation() -> None:
    with pytest.raises(SpecError, match=r"'redo' draws neurons anew .* drop one of the two"):
        spec("redo", perturb=("sgld",))
