"""The engine around a user's own training: what is promoted, hit, kept and loaded."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from antifragile import FrustrationEngine
from antifragile.engine.policies import StateSlot
from antifragile.model.units.find import find_units
from antifragile.model.units.records import Unit, ablate_unit
from antifragile.model.units.values import activations, gradients
from antifragile.model.units.watching.prepare import Inputs
from tests.engine.frustration.small_training import (
    IMAGES,
    LABELS,
    evaluate,
    small_model,
    train_epoch,
    validation_loss,
)

MODES = ("none", "decay", "dropout", "full", "hidden", "output")
VARIANTS = (
    "hidden+patience=2",
    "none+always-accept",
    "hidden+count=2",
    "hidden+fraction=0.25",
    "hidden+adaptive",
    "hidden+least-magnitude",
    "full+most-activation",
    "hidden+dormant",
    "hidden+layers=1",
    "hidden+fixed=0/2",
    "hidden+noise",
    "hidden+scattered",
    "hidden:2,output:2",
)


def engine(mode: str = "hidden", **options: object) -> FrustrationEngine:
    torch.manual_seed(1)
    return FrustrationEngine(small_model(), train_epoch, evaluate, mode=mode, **options)  # type: ignore[arg-type]


def loss(model: nn.Module) -> Tensor:
    return cross_entropy(model(IMAGES[:16]), LABELS[:16])


@pytest.mark.parametrize("rank", ["least-activation", "most-activation", "least-gradient"])
def test_the_unit_that_is_hit_is_the_first_by_its_rank(rank: str) -> None:
    run = engine(f"hidden+{rank}", loss=loss, inputs=IMAGES[:16])
    list(run.run(1))
    model = copy.deepcopy(run.best())
    groups = [group.units for group in run.units.groups[:2]]
    if rank.endswith("gradient"):
        parameters = dict(model.named_parameters())
        values = gradients(groups, parameters, model, loss)
    else:
        values = activations(groups, model, Inputs.of(IMAGES[:16]))
    units = [unit.name for group in groups for unit in group]
    place = int((np.argmax if rank.startswith("most") else np.argmin)(np.concatenate(values)))
    [_, record] = [None, *run.run(2)]
    assert record.ablated == (units[place],)


def test_dormant_units_are_hit_and_no_others() -> None:
    model = small_model()
    with torch.no_grad():
        model[4].weight[3], model[4].bias[3] = 0, -100  # training does not wake it up
    torch.manual_seed(1)
    run = FrustrationEngine(model, train_epoch, evaluate, mode="hidden+dormant+count=9")
    for record in list(run.run(3))[1:]:
        assert "4[3]" in record.ablated
        assert len(record.ablated) < 9, "the others fire"


@pytest.mark.parametrize("mode", [*MODES, *VARIANTS])
def test_the_best_model_is_the_holder_of_the_bounty(mode: str) -> None:
    run = engine(mode)
    records = list(run.run(5))
    assert [record.meta_loop for record in records] == [1, 2, 3, 4, 5]
    assert records[-1].bounty == max(record.score for record in records)
    assert evaluate(run.best()) == records[-1].bounty == run.bounty


def test_mode_none_is_the_loop_that_anybody_would_write() -> None:
    records = list(engine("none").run(6))
    torch.manual_seed(1)
    model, best, kept, scores = small_model(), -1.0, {}, []
    for _ in range(6):
        if kept:
            model.load_state_dict(kept)
        train_epoch(model)
        scores.append(evaluate(model))
        if scores[-1] > best:
            best, kept = scores[-1], copy.deepcopy(model.state_dict())
    assert [record.score for record in records] == scores


@pytest.mark.parametrize("mode", ["hidden", "output", "full"])
def test_a_clone_of_the_lkg_loses_one_unit_and_nothing_else(mode: str) -> None:
    before: list[dict[str, torch.Tensor]] = []

    def watched(model: nn.Module) -> float:
        before.append(copy.deepcopy(model.state_dict()))
        return train_epoch(model)

    torch.manual_seed(1)
    model = small_model()
    run = FrustrationEngine(model, watched, evaluate, mode=mode, seed=3)
    for record in run.run(4):
        if record.meta_loop == 1:
            assert record.ablated == ()
            lkg = copy.deepcopy(model.state_dict())
            continue
        (name,) = record.ablated
        unit = unit_named(model, name)
        expected = copy.deepcopy(lkg)
        ablate_unit(expected, unit, outgoing=mode == "hidden")
        assert all(torch.equal(before[-1][key], value) for key, value in expected.items())
        if record.promoted:
            lkg = copy.deepcopy(model.state_dict())


def unit_named(model: nn.Module, name: str) -> Unit:
    groups = find_units(model, IMAGES[:4]).groups
    return next(unit for group in groups for unit in group.units if unit.name == name)


def test_less_is_better_where_the_score_is_a_loss() -> None:
    torch.manual_seed(1)
    run = FrustrationEngine(small_model(), train_epoch, validation_loss, minimize=True)
    records = list(run.run(4))
    assert records[-1].bounty == min(record.score for record in records)
    assert validation_loss(run.best()) == records[-1].bounty


def test_the_seed_decides_what_is_hit() -> None:
    hits = [[r.ablated for r in engine(seed=seed).run(6)] for seed in (0, 0, 1)]
    assert hits[0] == hits[1] != hits[2]


def test_named_layers_alone_are_hit() -> None:
    records = list(engine(layers=["4"]).run(8))
    assert {name.partition("[")[0] for record in records[1:] for name in record.ablated} == {"4"}


def test_the_greedy_rule_keeps_one_copy_of_the_model_and_patience_two_more() -> None:
    run = engine("hidden")
    list(run.run(4))
    assert run._candidate.slots.filled == [StateSlot.LKG]
    patient = engine("hidden+patience=2")
    assert all(len(patient._candidate.slots.filled) <= 3 for _ in patient.run(8))


@pytest.mark.parametrize(("mode", "remembers"), [("hidden", False), ("hidden+persistent", True)])
def test_an_optimizer_that_lives_on_forgets_unless_the_mode_is_persistent(
    mode: str, remembers: bool
) -> None:
    torch.manual_seed(1)
    model = small_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    steps: list[bool] = []

    def watched(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
        steps.append(bool(optimizer.state))
        return train_epoch(model, optimizer)

    list(FrustrationEngine(model, watched, evaluate, mode=mode, optimizer=optimizer).run(3))
    assert steps == [False, remembers, remembers]


def test_the_memory_of_what_was_hit_is_zeroed_where_the_mode_says_so() -> None:
    torch.manual_seed(1)
    model = small_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    memory: list[torch.Tensor] = []

    def watched(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
        if optimizer.state:
            memory.append(optimizer.state[model[4].bias]["exp_avg"].clone())  # type: ignore[index]
        return train_epoch(model, optimizer)

    mode = "hidden+persistent-zeroed+fixed=1/5"
    list(FrustrationEngine(model, watched, evaluate, mode=mode, optimizer=optimizer).run(2))
    assert (memory[0] == 0).nonzero().flatten().tolist() == [5]


def test_restart_draws_fresh_models_and_keeps_the_best() -> None:
    seeds = iter(range(10, 20))
    run = engine("none+restart=2", fresh=lambda: small_model(next(seeds)))
    records = list(run.run(6))
    assert next(seeds) == 12
    assert evaluate(run.best()) == max(record.score for record in records)


def test_decay_shrinks_the_weights_before_every_step() -> None:
    model = nn.Linear(2, 1, bias=False)
    weight = model.weight.detach().clone()

    def still(model: nn.Module) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(3):
            (model(torch.zeros(1, 2)).sum() * 0).backward()
            optimizer.step()

    run = FrustrationEngine(model, still, lambda m: 0.0, mode="decay", weight_decay=0.1)
    list(run.run(1))
    assert torch.allclose(model.weight, weight * (1 - 0.05) ** 3)


def test_dropout_acts_on_hidden_units_in_training_alone() -> None:
    seen: list[bool] = []

    def compare(model: nn.Module) -> None:
        model.train()
        model[1].eval()  # type: ignore[index]
        seen.append(torch.equal(model(IMAGES), model(IMAGES)))
        model.eval()
        seen.append(torch.equal(model(IMAGES), model(IMAGES)))

    list(FrustrationEngine(small_model(), compare, evaluate, mode="dropout", dropout=0.5).run(1))
    assert seen == [False, True]


def test_finding_units_moves_no_random_generator() -> None:
    def drawn(inputs: object) -> list[float]:
        random.seed(2)
        np.random.seed(2)
        run = engine(inputs=inputs)
        list(run.run(2))
        return [torch.rand(()).item(), float(np.random.rand()), random.random()]

    assert drawn(None) == drawn(IMAGES[:5])


def test_a_compiled_model_is_looked_through() -> None:
    model = torch.compile(small_model(), backend="eager")
    run = FrustrationEngine(model, train_epoch, evaluate)
    records = list(run.run(3))
    assert records[1].ablated
    assert run.best() is model


Function = Callable[[nn.Module], object]


def test_the_engines_own_share_of_the_time_is_told() -> None:
    record = list(engine().run(3))[-1]
    assert 0 <= record.own_seconds < record.seconds


def exchanging_data(model: nn.Module) -> None:
    for value in model.parameters():
        value.data = value.data + torch.randn_like(value)


def through_a_vector(model: nn.Module) -> None:
    flat = nn.utils.parameters_to_vector(model.parameters()).detach()
    nn.utils.vector_to_parameters(flat + torch.randn_like(flat), model.parameters())


def assigning_a_buffer(model: nn.Module) -> None:
    model[1].running_mean = model[1].running_mean + torch.randn(4)


@pytest.mark.parametrize("train", [exchanging_data, through_a_vector, assigning_a_buffer])
def test_the_best_model_comes_back_whatever_training_does_with_its_tensors(
    train: Callable[[nn.Module], None],
) -> None:
    torch.manual_seed(3)
    run = FrustrationEngine(small_model(), train, validation_loss, mode="none", minimize=True)
    records = list(run.run(6))
    assert not all(record.promoted for record in records), "some candidates fail"
    assert validation_loss(run.best()) == run.bounty == min(record.score for record in records)


def test_dropout_reaches_a_layer_that_is_called_by_keyword() -> None:
    class ByName(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(36, 8), nn.Linear(8, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.down(input=self.up(images.flatten(1)).relu())

    scores = []
    for mode in ("none", "dropout"):
        torch.manual_seed(1)
        run = FrustrationEngine(ByName(), train_epoch, validation_loss, mode=mode, dropout=0.9)
        scores.append([record.score for record in run.run(2)])
    assert scores[0] != scores[1]
