"""ReDo and SNR: which neurons are drawn anew, what becomes of their weights and moments, when."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from antifragile.config.architecture import Architecture
from antifragile.config.networks import Initialiser
from antifragile.config.seeds import SeedTree
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.recycling import recycler
from antifragile.engine.recycling.choices import (
    FIRST_INTERVAL,
    REJECTION,
    SilenceTest,
    dormant_neurons,
)
from antifragile.engine.recycling.renewal import hidden_activations, renew_neurons
from antifragile.engine.trial import meta_loops
from antifragile.errors import SpecError
from antifragile.model.networks import SimpleMLP, clone_weights, initialise

STREAM = SeedTree(5)
IMAGES = torch.rand(40, 6, generator=torch.Generator().manual_seed(0))
DEAD = ((0, 1), (1, 4))


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


def renew_dormant(model: SimpleMLP, optimizer: torch.optim.Optimizer, law: Initialiser) -> None:
    chosen = dormant_neurons(hidden_activations(model, IMAGES))
    renew_neurons(model, optimizer, chosen, stream=STREAM, law=law)


def moments(model: SimpleMLP, optimizer: torch.optim.Optimizer, name: str) -> list[torch.Tensor]:
    state = optimizer.state[dict(model.named_parameters())[name]]
    return [state["exp_avg"], state["exp_avg_sq"]]


def test_a_network_without_dormant_neurons_stays_as_it_is() -> None:
    model, optimizer = trained(())
    before = clone_weights(model)
    renew_dormant(model, optimizer, Initialiser.PYTORCH)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("law", list(Initialiser))
def test_dormant_neurons_get_fresh_incoming_weights_no_outgoing_ones_and_no_moments(
    law: Initialiser,
) -> None:
    model, optimizer = trained(DEAD)
    before = clone_weights(model)
    kept = {name: [m.clone() for m in moments(model, optimizer, name)] for name in before}
    renew_dormant(model, optimizer, law)
    fresh = SimpleMLP(model.architecture, 6, 3)
    initialise(fresh, generator=torch.Generator().manual_seed(STREAM.key64), law=law)
    drawn, after = clone_weights(fresh), clone_weights(model)
    expected = {name: value.clone() for name, value in before.items()}
    hit = {name: torch.zeros_like(value, dtype=torch.bool) for name, value in before.items()}
    for layer, neuron in DEAD:
        for kind in ("weight", "bias"):
            name = f"layers.{layer}.{kind}"
            expected[name][neuron] = drawn[name][neuron]
            hit[name][neuron] = True
    for layer, neuron in DEAD:
        expected[f"layers.{layer + 1}.weight"][:, neuron] = 0
        hit[f"layers.{layer + 1}.weight"][:, neuron] = True
    for name, value in after.items():
        assert torch.equal(value, expected[name]), name
        for moment, old in zip(moments(model, optimizer, name), kept[name], strict=True):
            assert torch.equal(moment, old.masked_fill(hit[name], 0)), name


def test_the_output_does_not_change_where_dormant_neurons_never_fired() -> None:
    model, optimizer = trained(DEAD)
    before = model(IMAGES)
    renew_dormant(model, optimizer, Initialiser.PYTORCH)
    assert torch.allclose(model(IMAGES), before, rtol=0, atol=1e-6)


def verdicts(firing: list[list[bool]]) -> list[list[bool]]:
    """SNR's verdicts on the neurons of one layer; ``firing`` has a row for each batch."""
    test = SilenceTest([len(firing[0])], len(firing))
    return [test.silent_neurons([torch.tensor([row]).float()])[0].tolist() for row in firing]


def by_the_formula(firing: list[bool]) -> list[bool]:
    """The same for one neuron, as the module's docstring says it."""
    age, intervals, found = 0, [], []
    for fires in firing:
        age += 1
        if fires:
            intervals.append(age)
            age = 0
        longer = sum(interval > age for interval in [*intervals, FIRST_INTERVAL])
        found.append(not fires and longer / (len(intervals) + 1) <= REJECTION)
        if found[-1]:
            age, intervals = 0, []
    return found


@given(st.integers(1, 120), st.floats(0, 1), st.randoms(use_true_random=False))
def test_silent_neurons_are_those_of_the_formula(n: int, rate: float, random) -> None:
    firing = [[random.random() < p for p in (rate, 0.0, 1.0, 0.9)] for _ in range(n)]
    columns = [by_the_formula(list(column)) for column in zip(*firing, strict=True)]
    assert verdicts(firing) == [list(row) for row in zip(*columns, strict=True)]


def test_one_that_never_fires_is_drawn_anew_every_sixteen_batches() -> None:
    found = verdicts([[False]] * 40)
    assert [n for n, [silent] in enumerate(found, start=1) if silent] == [16, 32]


@pytest.mark.parametrize(("regular", "drawn"), [(48, False), (49, True)])
def test_one_that_fired_in_every_batch_is_drawn_anew_at_its_first_silence(
    regular: int, drawn: bool
) -> None:
    assert verdicts([[True]] * regular + [[False]])[-1] == [drawn]


def test_one_that_fires_seldom_may_be_silent_for_longer() -> None:
    seldom = ([[False]] * 14 + [[True]]) * 3
    assert not any(silent for [silent] in verdicts([*seldom, *[[False]] * 14]))


def spec(mode: str, *, batch_size: int = 5, **training: object) -> TrialSpec:
    options = TrainingOptions(learning_rate=0.01, batch_size=batch_size, **training)
    shape = Architecture.parse("2*6")
    return TrialSpec(dataset="tiny", architecture=shape, mode=mode, meta_loops=3, training=options)


@pytest.mark.parametrize(("mode", "every"), [("redo+every=4+initialisation=he", 4), ("snr", 1)])
def test_updates_are_counted_over_all_meta_loops(
    mode: str, every: int, tiny: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str | int, ...]] = []

    def noting(*_: object, stream: SeedTree, law: Initialiser) -> None:
        assert (law is Initialiser.HE) == ("he" in mode)
        seen.append(stream.path[-2:])

    monkeypatch.setattr(recycler, "renew_neurons", noting)
    steps = -(-tiny.train.n_samples // 5)
    list(meta_loops(spec(mode), tiny))
    assert seen == [("recycled", n) for n in range(every, 3 * steps + 1, every)]


def test_before_the_first_recycling_it_is_none(tiny: Dataset) -> None:
    ours, none = (
        [replace(record, seconds=0.0) for record, _ in meta_loops(spec(mode), tiny)]
        for mode in ("redo", "none")
    )
    assert ours == none, "1000 updates are more than this trial makes"


def test_neurons_that_never_fire_are_drawn_anew_in_training(tiny: Dataset) -> None:
    dark = replace(tiny, train=replace(tiny.train, images=torch.zeros_like(tiny.train.images)))
    weights = []
    for mode in ("none", "snr"):  # at zero images a neuron fires if its bias is positive
        trial = replace(spec(mode, batch_size=2), meta_loops=1)
        _, state = next(iter(meta_loops(trial, dark)))
        weights.append(state.lkg.weights["layers.0.weight"])
    changed = (weights[0] != weights[1]).any(dim=1)
    assert 0 < changed.sum() < len(changed)


@pytest.mark.parametrize("mode", ["redo+every=5", "snr"])
def test_it_knows_no_other_network(mode: str) -> None:
    with pytest.raises(SpecError, match=r"of network 'mlp' anew, not of network 'resmlp'; use"):
        spec(mode, network="resmlp")


@pytest.mark.parametrize("mode", ["redo", "snr"])
def test_it_cannot_stand_beside_a_perturbed_equation(mode: str) -> None:
    with pytest.raises(SpecError, match=rf"'{mode}' draws neurons anew .* drop one of the two"):
        spec(mode, perturb=("sgld",))
