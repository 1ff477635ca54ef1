"""EpochLoop without a trainer: begin, judge, and the optimizers' memory."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from antifragile.config.modes import get_mode
from antifragile.engine.frustration.training import ModelTraining
from antifragile.errors import UsageError
from antifragile.integrations.epochs import EpochLoop
from tests.integrations.digits import images, network

OPTIMIZERS = [
    kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind)
    and issubclass(kind, torch.optim.Optimizer)
    and name not in ("Optimizer", "LBFGS", "SparseAdam", "Muon")
]


def loop_around(model: nn.Module, mode: str = "hidden", **options: object) -> EpochLoop:
    optimizer = torch.optim.Adam(model.parameters())
    training = ModelTraining(model=model, optimizers=(optimizer,), **options)  # type: ignore[arg-type]
    return EpochLoop(training, get_mode(mode), seed=0)


def test_the_first_call_shows_the_units() -> None:
    model = network()
    loop = loop_around(model)
    loop.begin()
    assert loop.is_open
    model(images()[0][:8])
    assert loop.judge(torch.tensor(0.5), "accuracy").promoted
    assert not loop.is_open
    loop.begin()
    record = loop.judge(0.4, "accuracy")
    assert (record.promoted, record.bounty, len(record.ablated)) == (False, 0.5, 1)
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_a_model_that_was_never_called_has_no_known_units() -> None:
    loop = loop_around(network())
    loop.begin()
    loop.judge(0.5, "accuracy")
    with pytest.raises(UsageError, match="the trainer never called the model itself"):
        loop.begin()


def test_given_inputs_show_the_units_without_a_call() -> None:
    loop = loop_around(network(), inputs=images()[0][:2])
    for score in (0.5, 0.6):
        loop.begin()
        loop.judge(score, "accuracy")
    assert len(loop.records[-1].ablated) == 1


def test_a_score_that_cannot_be_compared_is_refused_and_the_states_stay() -> None:
    model = network()
    loop = loop_around(model, mode="none")
    loop.begin()
    loop.judge(0.5, "accuracy")
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    loop.begin()
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    with pytest.raises(UsageError, match="metric 'accuracy' is nan, which cannot be compared"):
        loop.judge(torch.tensor(float("nan")), "accuracy")
    loop.best()
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())


def test_fresh_networks_depend_on_the_seed_alone() -> None:
    built = []
    for _ in range(2):
        torch.manual_seed(len(built))  # not on what was drawn elsewhere
        model = network()
        loop = loop_around(model, mode="none+restart=1", fresh=network)
        loop.begin()
        loop.judge(0.5, "accuracy")
        before = torch.get_rng_state()
        loop.begin()
        assert torch.equal(before, torch.get_rng_state())
        built.append(model[0].weight.detach().clone())
    assert torch.equal(*built)


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_a_reset_optimizer_steps_as_a_new_one(kind: type[torch.optim.Optimizer]) -> None:
    def stepped(reset: bool) -> torch.Tensor:
        model = nn.Linear(2, 3, bias=False)
        weight = nn.init.ones_(model.weight)
        optimizer = kind([weight], lr=0.1)
        training = ModelTraining(model=model, optimizers=(optimizer,))
        if reset:
            for scale in (1.0, 5.0):
                weight.grad = torch.full_like(weight, scale)
                optimizer.step()
            training.clear_memory()
            with torch.no_grad():
                weight.fill_(1.0)
        weight.grad = torch.full_like(weight, 2.0)
        optimizer.step()
        return weight.detach()

    assert torch.equal(stepped(reset=True), stepped(reset=False))
