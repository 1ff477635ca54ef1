"""The contract of every preset on every optimizer: it resumes exactly in an unchanged loop."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from antifragile.optim import PRESETS, perturb
from tests.optim.small_training import (
    BASES,
    NEEDS_CLOSURE,
    Optimizer,
    are_equal,
    batch,
    network,
    rules_of,
    take_steps,
    weights_of,
)


def make(preset: str, base: str) -> tuple[nn.Module, Optimizer]:
    model = network()
    optimizer = BASES[base](model.parameters())
    perturb(optimizer, rules_of(preset), model=model, seed=3)
    return model, optimizer


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("preset", PRESETS)
def test_ten_steps_and_ten_after_loading_are_twenty(preset: str, base: str) -> None:
    closure = preset in NEEDS_CLOSURE
    straight, optimizer = make(preset, base)
    take_steps(straight, optimizer, range(20), closure=closure)

    saving, optimizer = make(preset, base)
    take_steps(saving, optimizer, range(10), closure=closure)
    file = io.BytesIO()
    torch.save([saving.state_dict(), optimizer.state_dict()], file)
    take_steps(saving, optimizer, range(10, 20), closure=closure)
    assert are_equal(weights_of(saving), weights_of(straight)), "saving changed the run"

    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    resumed, optimizer = make(preset, base)
    resumed.load_state_dict(weights)
    optimizer.load_state_dict(state)
    take_steps(resumed, optimizer, range(10, 20), closure=closure)
    assert are_equal(weights_of(resumed), weights_of(straight)), "resuming changed the run"


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_acts(preset: str, base: str) -> None:
    closure = preset in NEEDS_CLOSURE
    plain = network()
    take_steps(plain, BASES[base](plain.parameters()), range(10), closure=closure)
    model, optimizer = make(preset, base)
    take_steps(model, optimizer, range(10), closure=closure)
    assert not are_equal(weights_of(model), weights_of(plain))


def unchanged_loop(model: nn.Module, optimizer: Optimizer) -> list[Any]:
    """A usual training loop: gradient scaler, accumulation, scheduler, evaluation and saving."""
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)
    seen: list[Any] = []
    for number in range(6):
        model.train()
        optimizer.zero_grad()
        for part in (0, 1):
            x, y = batch(10 * number + part)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = cross_entropy(model(x), y) / 2
            if number == 3:
                loss = loss * float("inf")
            scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            seen.append(model(batch(99)[0]))
        file = io.BytesIO()
        torch.save([model.state_dict(), optimizer.state_dict(), scaler.state_dict()], file)
        seen.append(file.tell())
    return seen


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("preset", [name for name in PRESETS if name not in NEEDS_CLOSURE])
def test_one_loop_runs_with_every_preset(preset: str, base: str) -> None:
    model, optimizer = make(preset, base)
    storage = [p.data_ptr() for p in model.parameters()]
    seen = unchanged_loop(model, optimizer)
    assert all(out.isfinite().all() for out in seen[::2])
    assert [p.data_ptr() for p in model.parameters()] == storage
    state = optimizer.state_dict()["param_groups"][0]["antifragile"]
    assert state["step"] == 5, "the step with an infinite loss was skipped and does not count"
