"""The model is perturbed where it is trained, and clean where it is evaluated, saved or copied."""

from __future__ import annotations

import copy
import gc
import logging
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, update_bn

from antifragile.errors import UsageError
from antifragile.optim import Gaussian, Rule, perturb, presets
from tests.optim.small_training import (
    BASES,
    are_equal,
    batch,
    network,
    rules_of,
    take_steps,
    weights_of,
)


def test_inputs_are_noised_in_training_alone() -> None:
    model = nn.Sequential(nn.Identity())
    extra = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([extra], lr=0.1)
    perturb(optimizer, presets.input_noise(0.5), model=model)
    x = torch.zeros(4000)
    first, second = model(x), model(x)
    assert float(first.std()) == pytest.approx(0.5, rel=0.05)
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model(x), x)


def test_weights_are_clean_for_whoever_evaluates_or_saves() -> None:
    model = network()
    before = weights_of(model)
    optimizer = BASES["sgd"](model.parameters())
    perturb(optimizer, Rule("weight", Gaussian(), 0.1), model=model)
    assert torch.equal(model[0].weight, before["0.weight"])
    model(batch(0)[0])
    noisy = [p.detach().clone() for p in model.parameters()]
    assert not torch.equal(noisy[0], before["0.weight"])
    assert torch.equal(weights_of(model)["0.weight"], before["0.weight"])
    model(batch(0)[0])
    assert all(torch.equal(a, b) for a, b in zip(noisy, model.parameters(), strict=True))
    model.eval()
    model(batch(0)[0])
    assert torch.equal(model[0].weight, before["0.weight"])


def test_an_evaluation_between_steps_changes_nothing() -> None:
    ends = []
    for evaluates in (False, True):
        model = network()
        optimizer = BASES["adam"](model.parameters())
        rules = (presets.anti_pgd(), presets.sam_lagged())
        handle = perturb(optimizer, *rules, seed=0, model=model)
        for number in range(4):
            take_steps(model, optimizer, [number])
            if evaluates:
                model.eval()
                model(batch(9)[0])
                model.state_dict()
                with handle.clean():
                    pass
        ends.append(weights_of(model))
    assert are_equal(*ends)


def test_a_copy_of_the_model_is_free_of_the_handle() -> None:
    model = network()
    perturb(BASES["sgd"](model.parameters()), Rule("weight", Gaussian(), 0.1), model=model)
    copied = copy.deepcopy(model)
    before = copied[0].weight.detach().clone()
    copied.eval()
    copied(batch(0)[0])
    assert torch.equal(copied[0].weight, before)


def test_a_model_outlives_its_optimizer() -> None:
    model = network()
    before = weights_of(model)
    optimizer = BASES["adam"](model.parameters())
    perturb(optimizer, Rule("weight", Gaussian(), 0.1), model=model)
    del optimizer
    gc.collect()
    assert are_equal(weights_of(model), before)


def test_training_on_clean_weights_by_mistake_is_refused() -> None:
    model = network()
    optimizer = BASES["sgd"](model.parameters())
    perturb(optimizer, Rule("weight", Gaussian(), 0.1), model=model)
    model.eval()
    cross_entropy(model(batch(0)[0]), batch(0)[1]).backward()
    with pytest.raises(UsageError, match=r"train in model.train\(\)"):
        optimizer.step()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_model_whose_gradients_alone_are_perturbed_can_be_scripted() -> None:
    model = network()
    perturb(BASES["sgd"](model.parameters()), presets.annealed_gradient_noise(), model=model)
    torch.jit.script(model.eval())


def test_statistics_are_measured_anew_on_clean_weights(caplog: pytest.LogCaptureFixture) -> None:
    model, plain = network(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with caplog.at_level(logging.WARNING):
        handle = perturb(optimizer, Rule("weight", Gaussian(), 1.0), model=model)
    assert "call handle.update_bn(loader) before the model is evaluated" in caplog.text
    take_steps(model, optimizer, range(3))
    loader = [batch(number) for number in range(3)]
    update_bn(loader, plain)
    assert not torch.allclose(model[1].running_mean, plain[1].running_mean)
    handle.update_bn(loader)
    assert are_equal(weights_of(model), weights_of(plain))


def test_an_average_of_the_weights_is_that_of_clean_ones() -> None:
    model, twin = network(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    perturb(optimizer, Rule("weight", Gaussian(), 1.0), model=model)
    average = AveragedModel(model)
    for number in range(3):
        take_steps(model, optimizer, [number])
        average.update_parameters(model)
    for mean, weight in zip(average.module.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mean, weight)


def test_a_compiled_forward_breaks_once_for_the_hook() -> None:
    torch._dynamo.reset()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, Rule("weight", Gaussian(), 0.1), presets.input_noise(), model=model)
    explained = torch._dynamo.explain(model)(batch(0)[0])
    assert explained.graph_break_count <= 1


class Halves(nn.Module):
    """Two parts that a loop calls one after the other; the module itself is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 16), nn.Sequential(nn.ReLU(), nn.Linear(16, 3))


def train_halves(model: Halves, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for number in range(steps):
        x, y = batch(number)
        optimizer.zero_grad()
        cross_entropy(model.head(model.body(x)), y).backward()
        optimizer.step()


def test_parts_that_are_called_one_by_one_are_perturbed_as_a_whole_is() -> None:
    rules = (presets.anti_pgd(), presets.input_noise(), presets.sam_lagged())
    ends = []
    for is_whole in (False, True):
        torch.manual_seed(0)
        model = Halves()
        whole = nn.Sequential(model.body, model.head)
        optimizer = torch.optim.SGD(whole.parameters(), lr=0.1)
        if is_whole:
            perturb(optimizer, *rules, model=whole, seed=0)
            take_steps(whole, optimizer, range(4))
        else:
            perturb(optimizer, *rules, model=model, called=(model.body, model.head), seed=0)
            train_halves(model, optimizer, 4)
            model.head.eval()(torch.zeros(1, 16))
        ends.append(weights_of(whole))
    assert are_equal(*ends)


def test_calls_of_parts_within_a_call_of_the_whole_do_not_count() -> None:
    ends = []
    for nests in (False, True):
        model = network()
        optimizer = BASES["adam"](model.parameters())
        called = (model, model[0], model[3]) if nests else ()
        perturb(
            optimizer, presets.input_noise(), presets.sgld(), model=model, called=called, seed=0
        )
        take_steps(model, optimizer, range(4))
        ends.append(weights_of(model))
    assert are_equal(*ends)


def test_a_called_module_must_be_a_part_of_the_model() -> None:
    model = network()
    with pytest.raises(UsageError, match=r"called= has a Linear that is no part of model="):
        perturb(
            BASES["sgd"](model.parameters()),
            presets.anti_pgd(),
            model=model,
            called=[nn.Linear(1, 1)],
        )


def test_noise_goes_to_inputs_and_not_to_a_number_beside_them() -> None:
    seen = []

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(1))

        def forward(self, number: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            seen.append((number, x))
            return (self.w * x).sum() / number

    model = Model()
    perturb(torch.optim.SGD(model.parameters(), lr=0.1), presets.input_noise(), model=model)
    number, x = torch.tensor(3.0), torch.zeros(5)
    model(number=number, x=x)
    [(number_seen, x_seen)] = seen
    assert number_seen is number
    assert not torch.equal(x_seen, x)


def test_replicas_of_data_parallel_are_refused() -> None:
    model = network()
    perturb(BASES["sgd"](model.parameters()), presets.anti_pgd(), model=model)
    replica = model._replicate_for_data_parallel()
    with pytest.raises(
        UsageError, match=r"give perturb\(\) the DataParallel module itself as model="
    ):
        replica(batch(0)[0])


def test_rest_needs_the_model_and_keeps_the_same_perturbation() -> None:
    model = network()
    before = weights_of(model)
    handle = perturb(BASES["sgd"](model.parameters()), presets.anti_pgd(), model=model)
    model(batch(0)[0])
    noisy = model[0].weight.detach().clone()
    handle.rest()
    assert torch.equal(model[0].weight, before["0.weight"])
    model(batch(0)[0])
    assert torch.equal(model[0].weight, noisy)
    unknown = network()
    handle = perturb(BASES["sgd"](unknown.parameters()), presets.anti_pgd())
    with pytest.raises(UsageError, match=r"rest\(\) needs the model"):
        handle.rest()


def foreign(model: nn.Module) -> None:
    """Take gradients through copies of the parameters, as MAML does."""
    copies = {name: p.clone() for name, p in model.named_parameters()}
    loss = torch.func.functional_call(model, copies, (batch(0)[0],)).square().sum()
    for p, gradient in zip(
        model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
    ):
        p.grad = gradient


def without_gradients(model: nn.Module) -> None:
    """Call the model without gradients, and train a part of it."""
    with torch.no_grad():
        model(batch(0)[0])
    model[0](batch(0)[0]).sum().backward()


@pytest.mark.parametrize(
    ("call", "preset"),
    [(foreign, "anti_pgd"), (without_gradients, "anti_pgd"), (without_gradients, "input_noise")],
)
def test_a_forward_that_no_gradient_of_the_weights_comes_from_does_not_count(
    call: Any, preset: str
) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, rules_of(preset), model=model, seed=0)
    call(model)
    with pytest.raises(UsageError, match=r"other tensors \(torch.func\) do not count"):
        optimizer.step()


def test_a_model_without_the_optimizers_parameters_is_refused() -> None:
    model = network()
    masters = [p.detach().clone().requires_grad_() for p in model.parameters()]
    optimizer = torch.optim.SGD(masters, lr=0.1)
    with pytest.raises(UsageError, match="model= has none of the optimizer's parameters"):
        perturb(optimizer, presets.anti_pgd(), model=model)


def test_a_torch_func_transform_cannot_put_the_perturbation_in() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = perturb(optimizer, presets.anti_pgd(), model=model)
    x = batch(0)[0]
    with pytest.raises(UsageError, match=r"call handle.weights before it"):
        torch.func.grad(lambda x: model(x).sum())(x)
    assert handle.weights.is_in
    torch.func.grad(lambda x: model(x).sum())(x)
    cross_entropy(model(x), batch(0)[1]).backward()
    optimizer.step()


def test_a_replaced_layer_is_perturbed_from_its_first_forward_on() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.anti_pgd(), model=model)
    take_steps(model, optimizer, [0])
    model[3] = nn.Linear(16, 3)
    before = model[3].weight.detach().clone()
    optimizer.add_param_group({"params": list(model[3].parameters())})
    model(batch(1)[0])
    assert not torch.equal(model[3].weight, before)
