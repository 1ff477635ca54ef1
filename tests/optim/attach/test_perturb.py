"""`perturb` leaves the optimizer what it is, refuses what cannot work, and can be undone."""

from __future__ import annotations

import pytest
import torch

import antifragile
from antifragile.errors import UsageError
from antifragile.optim import perturb, presets
from tests.optim.small_training import BASES, are_equal, network, take_steps, weights_of


def test_the_public_name_is_perturb() -> None:
    assert antifragile.perturb is perturb


def test_an_optimizer_stays_what_it_is() -> None:
    model = network()
    optimizer = BASES["adam"](model.parameters())
    perturb(optimizer, presets.annealed_gradient_noise())
    assert type(optimizer) is torch.optim.Adam
    torch.optim.lr_scheduler.StepLR(optimizer, 3)


def test_calls_that_cannot_work_are_refused() -> None:
    model = network()
    optimizer = BASES["sgd"](model.parameters())
    for rules, extra, message in (
        ((), {}, "got no rule"),
        (("sam",), {}, "expected a Rule"),
        ((presets.input_noise(),), {}, "needs the model"),
        ((presets.pgd(),), {"seed": -1}, "at least 0"),
        ((presets.pgd(),), {"seed": 2**64}, r"below 2\*\*64"),
        ((presets.pgd(),), {"seed": [1, 2]}, "expected a whole number"),
        ((presets.pgd(params="nothing"),), {"model": model}, "selects none of the 6"),
        ((presets.pgd(params="weight"),), {}, "the optimizer knows none"),
    ):
        with pytest.raises(UsageError, match=message):
            perturb(optimizer, *rules, **extra)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"expected a torch\.optim\.Optimizer"):
        perturb(model, presets.pgd())  # type: ignore[arg-type]
    take_steps(model, optimizer, range(2))


def test_a_second_handle_is_refused() -> None:
    optimizer = BASES["sgd"](network().parameters())
    perturb(optimizer, presets.pgd())
    with pytest.raises(UsageError, match="perturbed already"):
        perturb(optimizer, presets.pgd())


def test_remove_leaves_no_trace() -> None:
    model = network()
    optimizer = BASES["adam"](model.parameters())
    handle = perturb(optimizer, presets.anti_pgd(), presets.input_noise(), model=model)
    handle.remove()
    plain = network()
    other = BASES["adam"](plain.parameters())
    take_steps(model, optimizer, range(3))
    take_steps(plain, other, range(3))
    assert are_equal(weights_of(model), weights_of(plain))
    assert "antifragile" not in optimizer.state_dict()["param_groups"][0]
    perturb(optimizer, presets.anti_pgd())
