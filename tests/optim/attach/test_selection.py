"""Rules act on the chosen parameters, with the share and the learning rate of their groups."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from antifragile.errors import UsageError
from antifragile.optim import Gaussian, Rademacher, RatioToGradient, Rule, perturb, presets
from tests.optim.small_training import (
    BASES,
    Point,
    are_equal,
    batch,
    descend,
    network,
    weights_of,
)


def test_groups_have_their_own_share_and_learning_rate() -> None:
    quiet, loud, out = (nn.Parameter(torch.zeros(2000)) for _ in range(3))
    optimizer = torch.optim.SGD(
        [
            {"params": [quiet], "lr": 0.01},
            {"params": [loud], "lr": 0.04, "perturb": 3.0},
            {"params": [out], "perturb": False},
        ],
        lr=0.1,
    )
    perturb(optimizer, presets.sgld())
    for p in (quiet, loud, out):
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert quiet.std().item() == pytest.approx(math.sqrt(2 * 0.01), rel=0.06)
    assert loud.std().item() == pytest.approx(3 * math.sqrt(2 * 0.04), rel=0.06)
    assert not out.any()


def test_matrices_are_in_a_word() -> None:
    model = network()
    before = weights_of(model)
    optimizer = BASES["sgd"](model.parameters())
    perturb(optimizer, Rule("weight", Rademacher(), 0.1, params="matrices"))
    moved = {key for key, value in weights_of(model).items() if not torch.equal(value, before[key])}
    assert moved == {"0.weight", "3.weight"}


@pytest.mark.parametrize("params", [r"^3\.", lambda name, p: name.startswith("3.")])
def test_parameters_are_chosen_by_name(params: object) -> None:
    model = network()
    before = weights_of(model)
    optimizer = BASES["sgd"](model.named_parameters())
    handle = perturb(optimizer, Rule("weight", Rademacher(), 0.1, params=params))  # type: ignore[arg-type]
    moved = {key for key, value in weights_of(model).items() if not torch.equal(value, before[key])}
    assert moved == {"3.weight", "3.bias"}
    handle.remove()
    assert are_equal(weights_of(model), before)


def test_frozen_parameters_and_those_without_gradient_are_left_alone() -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    rules = [Rule(place, Rademacher(), 0.1) for place in ("grad", "weight", "step")]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    perturb(optimizer, *rules, model=model)
    model(batch(0)[0])
    model[3].bias.grad = torch.zeros(3)
    optimizer.step()
    after = dict(model.named_parameters())
    assert {key for key in after if not torch.equal(after[key], before[key])} == {"3.bias"}


def test_a_group_added_later_is_perturbed_too() -> None:
    model, late = Point([1.0]), nn.Parameter(torch.zeros(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    perturb(optimizer, Rule("weight", Rademacher(), 0.5))
    optimizer.add_param_group({"params": [late]})
    descend(model, optimizer, 1)
    assert late.abs().tolist() == [0.5] * 4
    assert (model.w - 1.0).abs().item() == 0.5


def test_a_group_with_a_senseless_share_is_refused() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    optimizer.param_groups[0]["perturb"] = -1
    with pytest.raises(UsageError, match="perturb=-1"):
        perturb(optimizer, Rule("weight", Gaussian(), 0.1))


def sparse_rule_setup(place: str) -> tuple[nn.Embedding, torch.optim.Optimizer]:
    model = nn.Embedding(10, 3, sparse=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, Rule(place, Gaussian(), RatioToGradient(0.1)))
    return model, optimizer


@pytest.mark.parametrize("place", ["grad", "weight", "step"])
def test_sparse_gradients_are_refused(place: str) -> None:
    model, optimizer = sparse_rule_setup(place)
    model(torch.tensor([1])).sum().backward()
    with pytest.raises(UsageError, match=r"is sparse.*leave it out by params="):
        optimizer.step()
