"""HuggingFaceFrustration in a real Trainer: modes, optimizer, final model, wrong use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from antifragile.config.modes import PAPER_MODES
from antifragile.errors import UsageError
from antifragile.integrations.huggingface import HuggingFaceFrustration
from tests.integrations.digits import N_TRAIN, accuracy, images, plain_records

if TYPE_CHECKING:
    import tests.integrations.huggingface_runs as huggingface_runs


@pytest.fixture(scope="module")
def runs(transformers_are_here: None) -> huggingface_runs:
    """Import what needs transformers."""
    import tests.integrations.huggingface_runs as huggingface_runs

    return huggingface_runs


def loss() -> dict[str, Any]:
    return {"monitor": "eval_loss", "minimize": True}


@pytest.mark.parametrize("mode", PAPER_MODES)
def test_each_mode_runs_on_digits(runs: Any, tmp_path: Path, mode: str) -> None:
    frustration = HuggingFaceFrustration("accuracy", mode=mode)
    model = runs.Digits()
    runs.train(frustration, tmp_path, model=model)
    records = frustration.records
    ablates = mode in ("full", "hidden", "output")
    assert [len(record.ablated) for record in records] == [0, ablates, ablates]
    x, y = images()
    held = accuracy(model.net, x[N_TRAIN:], y[N_TRAIN:])
    assert held == pytest.approx(max(record.score for record in records))


@pytest.mark.slow
@pytest.mark.parametrize("mode", PAPER_MODES)
def test_each_mode_runs_on_text(runs: Any, tmp_path: Path, mode: str) -> None:
    frustration = HuggingFaceFrustration(**loss(), mode=mode)
    trainer = runs.train(frustration, tmp_path)
    bounty = min(record.score for record in frustration.records)
    assert frustration.records[-1].bounty == bounty
    assert trainer.evaluate()["eval_loss"] == bounty


def test_reset_clears_moments_and_persistent_does_not_while_the_schedule_runs_on(
    runs: Any, tmp_path: Path
) -> None:
    reset, persistent = runs.Watch(), runs.Watch()
    for watch, mode in ((reset, "hidden"), (persistent, "hidden+persistent")):
        frustration = HuggingFaceFrustration("accuracy", mode=mode)
        runs.train(frustration, tmp_path, model=runs.Digits(), callbacks=(watch,))
    assert reset.moments == [0, 0, 0]
    assert persistent.moments == [0, 6, 6]
    assert reset.rates == persistent.rates == pytest.approx([0.01, 0.02 / 3, 0.01 / 3])


@pytest.mark.parametrize("mode", ["none", "hidden", "output"])
def test_scores_are_those_of_the_engine_around_a_plain_loop(
    runs: Any, tmp_path: Path, mode: str
) -> None:
    order: list[torch.Tensor] = []

    class Noting(runs.Digits):
        def forward(self, pixels: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            if self.training:
                order.append(pixels.detach().clone())
            return super().forward(pixels, labels)

    frustration = HuggingFaceFrustration("accuracy", mode=mode, seed=5)
    options = {"max_grad_norm": 0.0, "lr_scheduler_type": "constant", "weight_decay": 0.0}
    runs.train(frustration, tmp_path, model=Noting(), epochs=4, **options)
    x, y = images()
    classes = {row.numpy().tobytes(): label for row, label in zip(x, y, strict=True)}

    model = runs.Digits().net
    optimizer = torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.0)
    batches = iter(order)

    def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        model.train()
        for _ in range(N_TRAIN // 16):
            pixels = next(batches)
            labels = torch.stack([classes[row.numpy().tobytes()] for row in pixels])
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(pixels), labels).backward()
            optimizer.step()

    expected = plain_records(model, train_epoch, mode, optimizer)
    assert [r.score for r in frustration.records] == pytest.approx([r.score for r in expected])
    assert [r.promoted for r in frustration.records] == [r.promoted for r in expected]
    names = [tuple(name.removeprefix("net.") for name in r.ablated) for r in frustration.records]
    assert names == [r.ablated for r in expected]


def test_gradient_accumulation_in_bfloat16(runs: Any, tmp_path: Path) -> None:
    frustration = HuggingFaceFrustration("accuracy")
    options = {"gradient_accumulation_steps": 3, "bf16": True}
    runs.train(frustration, tmp_path, model=runs.Digits(), **options)
    assert [len(record.ablated) for record in frustration.records] == [0, 1, 1]


def test_early_stopping_stops_and_the_bounty_s_holder_is_loaded(runs: Any, tmp_path: Path) -> None:
    from transformers import EarlyStoppingCallback

    stopping = EarlyStoppingCallback(1, 2.0)  # never better by as much
    frustration = HuggingFaceFrustration("accuracy")
    model = runs.Digits()
    options = {"metric_for_best_model": "accuracy", "greater_is_better": True}
    runs.train(frustration, tmp_path, model=model, epochs=6, callbacks=(stopping,), **options)
    assert len(frustration.records) == 2
    x, y = images()
    held = accuracy(model.net, x[N_TRAIN:], y[N_TRAIN:])
    assert held == pytest.approx(frustration.records[-1].bounty)


def test_what_was_decided_is_in_the_log_history(runs: Any, tmp_path: Path) -> None:
    frustration = HuggingFaceFrustration("accuracy")
    trainer = runs.train(frustration, tmp_path, model=runs.Digits())
    rows = [row for row in trainer.state.log_history if "eval_frustration_bounty" in row]
    records = frustration.records
    assert [row["eval_frustration_bounty"] for row in rows] == [r.bounty for r in records]
    assert [row["eval_frustration_promoted"] for row in rows] == [r.promoted for r in records]
    assert [row["eval_frustration_ablated"] for row in rows] == [0, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eval_strategy": "steps"}, "eval_strategy='steps', and every epoch's"),
        ({"eval_strategy": "no"}, "eval_strategy='no', and every epoch's"),
        (
            {"load_best_model_at_end": True, "save_strategy": "epoch"},
            "load_best_model_at_end=True and HuggingFaceFrustration both decide",
        ),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(
    runs: Any, tmp_path: Path, options: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        runs.train(HuggingFaceFrustration("accuracy"), tmp_path, model=runs.Digits(), **options)


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_wrong_metric_is_named_with_those_there_are(
    runs: Any, tmp_path: Path, epochs: int
) -> None:
    frustration = HuggingFaceFrustration("eval_f1")
    with pytest.raises(UsageError, match=r"without a metric 'eval_f1' .* eval_accuracy, eval_loss"):
        runs.train(frustration, tmp_path, model=runs.Digits(), epochs=epochs)


def test_dropout_of_a_compiled_model_is_refused(runs: Any, tmp_path: Path) -> None:
    frustration = HuggingFaceFrustration("accuracy", mode="dropout")
    options = {"torch_compile": True, "torch_compile_backend": "eager"}
    with pytest.raises(UsageError, match=r"adds hooks, which torch\.compile does not see"):
        runs.train(frustration, tmp_path, model=runs.Digits(), **options)


def test_a_compiled_model_gives_the_same_scores(runs: Any, tmp_path: Path) -> None:
    plain, compiled = HuggingFaceFrustration("accuracy"), HuggingFaceFrustration("accuracy")
    runs.train(plain, tmp_path, model=runs.Digits())
    options = {"torch_compile": True, "torch_compile_backend": "eager"}
    runs.train(compiled, tmp_path, model=runs.Digits(), **options)
    assert [r.score for r in compiled.records] == [r.score for r in plain.records]
    assert [r.ablated for r in compiled.records] == [r.ablated for r in plain.records]
