"""The core perturbs a training loop that calls it by hand, as the hooks do it by themselves."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from antifragile.optim import Gaussian, Rule, perturb, presets
from antifragile.optim.attach.perturbed_optimizer import PerturbedOptimizer
from tests.optim.small_training import BASES, are_equal, batch, network, take_steps, weights_of

RULES = (*presets.anti_pgd(), *presets.annealed_gradient_noise(), Rule("step", Gaussian(), 0.01))


def test_calls_by_hand_train_as_the_hooks_do() -> None:
    hooked = network()
    optimizer = BASES["adam"](hooked.parameters())
    handle = perturb(optimizer, RULES, seed=3)
    take_steps(hooked, optimizer, range(5))

    model = network().train()
    optimizer = BASES["adam"](model.parameters())
    core = PerturbedOptimizer(
        optimizer, RULES, seeds=(3,), model=None, per_rank=False, replicas=None, first_step=0
    )
    for number in range(5):
        x, y = batch(number)
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        core.before_step(grad_scale=1.0)
        optimizer.step()
        core.after_step()
    with core.clean(), handle.clean():
        assert are_equal(weights_of(model), weights_of(hooked))


def test_the_core_registers_no_hook() -> None:
    model = network()
    optimizer = BASES["adam"](model.parameters())
    PerturbedOptimizer(
        optimizer, RULES, seeds=(3,), model=model, per_rank=False, replicas=None, first_step=0
    )
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not model._forward_pre_hooks
    assert isinstance(optimizer, torch.optim.Adam)
