"""A saved state is loaded in any order, or refused with a message; nothing is lost silently."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

from antifragile.errors import CheckpointError, UsageError
from antifragile.optim import Gaussian, HandleState, Langevin, Rule, perturb, presets
from tests.optim.small_training import BASES, Optimizer, are_equal, network, take_steps, weights_of

RULES = (*presets.anti_pgd(0.05), *presets.annealed_gradient_noise(), *presets.sam_lagged())


def make(*, knows_model: bool = True, attach: bool = True) -> tuple[nn.Module, Optimizer, Any]:
    model = network()
    optimizer = BASES["adam"](model.parameters())
    known = model if knows_model else None
    handle = perturb(optimizer, RULES, seed=0, model=known) if attach else None
    return model, optimizer, handle


@pytest.fixture(scope="module")
def saved() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Weights and optimizer state after five steps, written and read; weights after ten."""
    model, optimizer, _ = make()
    take_steps(model, optimizer, range(5))
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict()], file)
    take_steps(model, optimizer, range(5, 10))
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    return weights, state, weights_of(model)


@pytest.mark.parametrize("order", ["model optimizer", "optimizer model"])
def test_a_handle_that_knows_the_model_loads_in_any_order(order: str, saved: Any) -> None:
    weights, state, expected = copy.deepcopy(saved)
    model, optimizer, _ = make()
    for part in order.split():
        model.load_state_dict(weights) if part == "model" else optimizer.load_state_dict(state)
    take_steps(model, optimizer, range(5, 10))
    assert are_equal(weights_of(model), expected)


@pytest.mark.parametrize("order", ["model optimizer", "optimizer model"])
@pytest.mark.parametrize("knows_model", [True, False])
def test_a_handle_attached_after_loading_finds_its_state(
    knows_model: bool, order: str, saved: Any
) -> None:
    weights, state, expected = copy.deepcopy(saved)
    model, optimizer, _ = make(attach=False)
    for part in order.split():
        model.load_state_dict(weights) if part == "model" else optimizer.load_state_dict(state)
    handle = perturb(optimizer, RULES, model=model if knows_model else None)
    take_steps(model, optimizer, range(5, 10))
    with handle.clean():
        assert are_equal(weights_of(model), expected)


def test_without_the_model_weights_come_before_the_optimizer(saved: Any) -> None:
    weights, state, expected = copy.deepcopy(saved)
    model, optimizer, handle = make(knows_model=False)
    model.load_state_dict(weights)
    optimizer.load_state_dict(state)
    take_steps(model, optimizer, range(5, 10))
    with handle.clean():
        assert are_equal(weights_of(model), expected)


def test_without_the_model_the_other_order_is_refused(saved: Any) -> None:
    weights, state, _ = copy.deepcopy(saved)
    model, optimizer, _ = make(knows_model=False)
    optimizer.load_state_dict(state)
    model.load_state_dict(weights)
    with pytest.raises(UsageError, match="load them before the optimizer's state"):
        take_steps(model, optimizer, [5])


def test_weights_saved_with_the_perturbation_in_them_are_refused() -> None:
    model, optimizer, _ = make(knows_model=False)
    take_steps(model, optimizer, range(3))
    weights, state = copy.deepcopy([model.state_dict(), optimizer.state_dict()])
    model, optimizer, _ = make(knows_model=False)
    model.load_state_dict(weights)
    with pytest.raises(CheckpointError, match=r"save inside handle.clean\(\), or pass model="):
        optimizer.load_state_dict(state)


def test_the_same_saved_inside_clean_is_fine() -> None:
    model, optimizer, handle = make(knows_model=False)
    take_steps(model, optimizer, range(3))
    with handle.clean():
        weights, state = copy.deepcopy([model.state_dict(), optimizer.state_dict()])
    take_steps(model, optimizer, range(3, 6))
    with handle.clean():
        expected = weights_of(model)
    model, optimizer, handle = make(knows_model=False)
    model.load_state_dict(weights)
    optimizer.load_state_dict(state)
    take_steps(model, optimizer, range(3, 6))
    with handle.clean():
        assert are_equal(weights_of(model), expected)


def test_saving_changes_nothing() -> None:
    ends = []
    for saves in (False, True):
        model, optimizer, handle = make()
        for number in range(4):
            take_steps(model, optimizer, [number])
            if saves:
                copy.deepcopy([model.state_dict(), optimizer.state_dict(), handle.state_dict()])
        ends.append(weights_of(model))
    assert are_equal(*ends)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (presets.sam(), "the saved perturbation has rules"),
        (presets.anti_pgd(0.1) + RULES[1:], "the saved perturbation has rules"),
    ],
)
def test_the_state_of_other_rules_is_refused(
    rules: tuple[Rule, ...], message: str, saved: Any
) -> None:
    _, state, _ = copy.deepcopy(saved)
    model = network()
    optimizer = BASES["adam"](model.parameters())
    perturb(optimizer, rules, model=model)
    before = weights_of(model)
    with pytest.raises(CheckpointError, match=message):
        optimizer.load_state_dict(state)
    assert are_equal(weights_of(model), before)


def test_a_late_handle_of_other_rules_is_refused_and_leaves_clean_weights(saved: Any) -> None:
    _, state, _ = copy.deepcopy(saved)
    model, optimizer, _ = make(attach=False)
    optimizer.load_state_dict(state)
    before = weights_of(model)
    with pytest.raises(CheckpointError, match="attach the same, or take 'antifragile' out"):
        perturb(optimizer, presets.anti_pgd(0.1))
    assert are_equal(weights_of(model), before)


def test_a_state_from_another_version_is_refused(saved: Any) -> None:
    _, _, handle = make()
    with pytest.raises(CheckpointError, match="has format 99"):
        handle.load_state_dict(HandleState(handle.state_dict() | {"format": 99}))


def test_the_state_of_an_unperturbed_run_begins_at_step_zero() -> None:
    model, optimizer, _ = make(attach=False)
    take_steps(model, optimizer, range(3))
    state = copy.deepcopy(optimizer.state_dict())
    model, optimizer, handle = make()
    take_steps(model, optimizer, range(2))
    optimizer.load_state_dict(state)
    assert handle.step_number == 0


def test_the_state_of_random_noise_is_a_few_numbers() -> None:
    model = network()
    optimizer = BASES["sgd"](model.parameters())
    perturb(optimizer, Rule("weight", Gaussian(), 0.1), presets.sgld(), model=model)
    take_steps(model, optimizer, range(2))
    state = optimizer.state_dict()["param_groups"][0]["antifragile"]
    assert not any(rule["kept"] or rule["controller"] for rule in state["states"])


def test_moments_loaded_into_a_handle_belong_to_it_alone(saved: Any) -> None:
    weights, state, _ = copy.deepcopy(saved)
    kept = state["param_groups"][0]["antifragile"]["states"][2]["kept"]["directions"]
    before = [tensor.clone() for tensor in kept]
    model, optimizer, _ = make()
    model.load_state_dict(weights)
    optimizer.load_state_dict(state)
    take_steps(model, optimizer, range(5, 7))
    assert all(torch.equal(a, b) for a, b in zip(kept, before, strict=True))


def test_after_loading_a_rule_follows_the_learning_rate_of_the_moment() -> None:
    ends = []
    for loads in (False, True):
        weight = nn.Parameter(torch.zeros(2000))
        optimizer = torch.optim.SGD([weight], lr=0.25)
        perturb(optimizer, Rule("step", Gaussian(), Langevin()))
        if loads:
            optimizer.load_state_dict(optimizer.state_dict())
        optimizer.param_groups[0]["lr"] = 0.01
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        ends.append(weight.detach().clone())
    assert torch.equal(*ends)


def test_parameters_in_another_order_are_refused() -> None:
    def made(names: str) -> tuple[nn.Module, Optimizer]:
        model = nn.Module()
        for name in names:
            setattr(model, name, nn.Linear(4, 4))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        perturb(optimizer, presets.annealed_gradient_noise(), model=model)
        return model, optimizer

    _, first = made("pq")
    _, second = made("qp")
    message = "parameter number 0 is 'p.weight' in the saved perturbation and 'q.weight' here"
    with pytest.raises(CheckpointError, match=message):
        second.load_state_dict(first.state_dict())
