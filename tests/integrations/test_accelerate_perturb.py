"""Accelerate around a perturbed optimizer trains what a hand-written loop trains, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from antifragile.errors import UsageError
from antifragile.optim import perturb, presets
from tests.integrations.digits import N_TRAIN, images, seeded_network
from tests.integrations.perturbed import BATCH, MIXED, SEED, PlainLoop, adamw, are_equal, batches

pytestmark = pytest.mark.usefixtures("accelerate_is_here")


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """Forget the settings of the accelerator before, which live as long as the process."""
    yield
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


class Training:
    """A training by Accelerate, perturbed before or after the wrapper is put around."""

    def __init__(self, *, is_early: bool = True, seed: int | None = SEED, **options: Any) -> None:
        from accelerate import Accelerator

        self.accelerator = Accelerator(cpu=True, **options)
        x, y = images()
        loader = DataLoader(TensorDataset(x[:N_TRAIN], y[:N_TRAIN]), BATCH)
        self.net = seeded_network()
        optimizer = adamw(self.net.parameters())
        if is_early:
            self.handle = perturb(optimizer, MIXED, model=self.net, seed=seed)
        self.model, self.optimizer, self.loader = self.accelerator.prepare(
            self.net, optimizer, loader
        )
        if not is_early:
            inner, model = self.optimizer.optimizer, self.accelerator.unwrap_model(self.model)
            self.handle = perturb(inner, MIXED, model=model, seed=seed)

    def train(self, epochs: int, clip: float | None = None) -> Training:
        for _ in range(epochs):
            self.model.train()
            for x, y in self.loader:
                with self.accelerator.accumulate(self.model):
                    self.accelerator.backward(cross_entropy(self.model(x), y))
                    if clip is not None and self.accelerator.sync_gradients:
                        self.accelerator.clip_grad_norm_(self.model.parameters(), clip)
                    self.optimizer.step()
                    self.optimizer.zero_grad()
        return self

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.net.state_dict().items()}


@pytest.mark.parametrize("is_early", [True, False], ids=["before prepare", "after prepare"])
@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({}, {}),
        ({"gradient_accumulation_steps": 2}, {"accumulate": 2}),
        ({"mixed_precision": "bf16"}, {"bf16": True}),
        (
            {"gradient_accumulation_steps": 2, "mixed_precision": "bf16"},
            {"accumulate": 2, "bf16": True, "clip": 0.1},
        ),
    ],
    ids=["plain", "accumulation", "bf16", "all"],
)
def test_a_loop_by_accelerate(options: Any, plain: Any, is_early: bool) -> None:
    done = Training(is_early=is_early, **options).train(2, plain.get("clip"))
    assert are_equal(done.weights(), PlainLoop(MIXED, **plain).train(2).weights())
    assert done.handle.step_number == 16 // plain.get("accumulate", 1)


@pytest.mark.parametrize("is_early", [True, False], ids=["before prepare", "after prepare"])
def test_a_saved_state_goes_on_exactly(tmp_path: Path, is_early: bool) -> None:
    first = Training(is_early=is_early).train(1)
    first.model(next(iter(first.loader))[0])  # a perturbation is in the weights
    first.accelerator.save_state(str(tmp_path))
    again = Training(is_early=is_early, seed=None)
    again.accelerator.load_state(str(tmp_path))
    plain = PlainLoop(MIXED).train(1)
    plain.model(batches()[0][0])
    assert are_equal(again.train(1).weights(), plain.train(1).weights())


def test_a_state_loaded_before_the_rules_are_attached_goes_on_exactly(tmp_path: Path) -> None:
    Training().train(1).accelerator.save_state(str(tmp_path))
    again = Training(is_early=False)
    again.handle.remove()
    again.accelerator.load_state(str(tmp_path))
    perturb(again.optimizer.optimizer, MIXED, model=again.net)
    assert are_equal(again.train(1).weights(), PlainLoop(MIXED).train(2).weights())


def test_the_wrapper_is_refused_with_the_optimizer_inside() -> None:
    from accelerate import Accelerator

    wrapper = Accelerator(cpu=True).prepare(adamw(nn.Linear(1, 1).parameters()))
    message = r"AcceleratedOptimizer wraps .* the one inside: perturb\(wrapper\.optimizer, \.\.\.\)"
    with pytest.raises(UsageError, match=message):
        perturb(wrapper, presets.msam())


def test_exact_sam_by_a_closure_and_refused_without() -> None:
    from accelerate import Accelerator

    accelerator, net = Accelerator(cpu=True), seeded_network()
    optimizer = adamw(net.parameters())
    perturb(optimizer, presets.sam(), model=net, seed=SEED)
    model, wrapper = accelerator.prepare(net, optimizer)
    x, y = images()

    def closure(rows: slice) -> Any:
        def evaluate() -> torch.Tensor:
            wrapper.zero_grad()
            loss = cross_entropy(model(x[rows]), y[rows])
            accelerator.backward(loss)
            return loss

        return evaluate

    for start in range(0, N_TRAIN, BATCH):
        wrapper.step(closure(slice(start, start + BATCH)))
    expected = PlainLoop(presets.sam(), closure=True).train(1).weights()
    assert are_equal(net.state_dict(), expected)
    closure(slice(0, BATCH))()
    with pytest.raises(UsageError, match="Use sam_lagged or asam_lagged for a loop without one"):
        wrapper.step()
