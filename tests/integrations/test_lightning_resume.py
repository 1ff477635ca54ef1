"""LightningFrustration across the trainer's checkpoints: exact, and after a kill."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from antifragile.errors import CheckpointError
from antifragile.integrations.lightning import LightningFrustration
from tests.integrations.killing import kill_in_the_middle
from tests.integrations.needed import LIGHTNING_WARNINGS

if TYPE_CHECKING:
    import tests.integrations.lightning_runs as lightning_runs

pytestmark = [pytest.mark.filterwarnings(line) for line in LIGHTNING_WARNINGS]

MODES = ["hidden", "dropout", "output+persistent", "none+restart=2", "hidden+patience=1"]


@pytest.fixture(scope="module")
def runs(lightning_is_here: None) -> lightning_runs:
    """Import what needs Lightning."""
    import tests.integrations.lightning_runs as lightning_runs

    return lightning_runs


def saving(folder: Path, *, at_validation: bool = False) -> Any:
    from lightning.pytorch.callbacks import ModelCheckpoint

    monitor = {"monitor": "val_acc", "save_on_train_epoch_end": False} if at_validation else {}
    return ModelCheckpoint(folder, "{epoch}", save_top_k=-1, **monitor)


def run(runs: Any, mode: str, **options: Any) -> tuple[Any, list[Any], dict[str, torch.Tensor]]:
    frustration = LightningFrustration("val_acc", mode=mode, fresh=runs.fresh_digits)
    trainer = runs.fit(frustration, epochs=4, num_sanity_val_steps=0, **options)
    decided = [(r.meta_loop, r.score, r.bounty, r.promoted, r.ablated) for r in frustration.records]
    return trainer, decided, runs.weights(trainer)


@pytest.mark.parametrize("at_validation", [False, True], ids=["epoch end", "validation end"])
@pytest.mark.parametrize("mode", MODES)
def test_resuming_equals_an_uninterrupted_run(
    runs: Any, tmp_path: Path, mode: str, at_validation: bool
) -> None:
    checkpoints = saving(tmp_path, at_validation=at_validation)
    whole, decided, weights = run(runs, mode, callbacks=(checkpoints,))
    for epoch in (0, 2):
        again, decided_again, weights_again = run(
            runs, mode, resume=tmp_path / f"epoch={epoch}.ckpt"
        )
        assert decided_again == decided
        assert all(torch.equal(weights[name], weights_again[name]) for name in weights)
        for one, other in zip(*(_moments(trainer) for trainer in (whole, again)), strict=True):
            assert torch.equal(one, other)


def _moments(trainer: Any) -> list[torch.Tensor]:
    [optimizer] = trainer.optimizers
    return [state["exp_avg_sq"] for state in optimizer.state.values()]


def test_a_second_fit_goes_on(runs: Any) -> None:
    frustration = LightningFrustration("val_acc")
    trainer = runs.fit(frustration, epochs=2)
    trainer.fit_loop.max_epochs = 4
    trainer.fit(trainer.lightning_module, *runs.loaders())
    assert [record.meta_loop for record in frustration.records] == [1, 2, 3, 4]


def test_a_checkpoint_that_lacks_our_state_is_refused(runs: Any, tmp_path: Path) -> None:
    import lightning.pytorch as pl

    trainer = runs.fit(pl.Callback(), epochs=1, callbacks=(saving(tmp_path),))
    assert trainer.current_epoch == 1
    with pytest.raises(CheckpointError, match="was made without LightningFrustration"):
        runs.fit(LightningFrustration("val_acc"), resume=tmp_path / "epoch=0.ckpt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "output"}, "mode='hidden', and the callback has mode='output'"),
        ({"seed": 1}, "seed=0, and the callback has seed=1"),
        ({"minimize": True}, "minimize=False, and the callback has minimize=True"),
    ],
)
def test_another_callback_cannot_go_on(
    runs: Any, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    runs.fit(LightningFrustration("val_acc"), epochs=1, callbacks=(saving(tmp_path),))
    with pytest.raises(CheckpointError, match=message):
        runs.fit(LightningFrustration("val_acc", **change), resume=tmp_path / "epoch=0.ckpt")


def test_another_model_cannot_go_on(runs: Any, tmp_path: Path) -> None:
    class Wider(runs.Digits):
        strict_loading = False

        def __init__(self) -> None:
            super().__init__()
            self.more = nn.Linear(2, 2)

    runs.fit(LightningFrustration("val_acc"), epochs=1, callbacks=(saving(tmp_path),))
    with pytest.raises(CheckpointError, match=r"belongs to another model: 'more\.bias' is missing"):
        runs.fit(LightningFrustration("val_acc"), module=Wider(), resume=tmp_path / "epoch=0.ckpt")


SLOW_STEPS = """
import sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from antifragile.integrations.lightning import LightningFrustration
from tests.integrations import lightning_runs as runs
from tests.integrations.test_lightning_resume import saving
from lightning.pytorch import Callback

class Wait(Callback):
    def on_train_batch_end(self, trainer, *rest):
        if trainer.current_epoch == 2 and trainer.fit_loop.batch_idx == 3:
            print("in the middle", flush=True)
            time.sleep(600)

runs.fit(
    LightningFrustration("val_acc"), epochs=4, num_sanity_val_steps=0,
    callbacks=(saving(Path(sys.argv[1])), Wait()),
)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_exactly(runs: Any, tmp_path: Path) -> None:
    kill_in_the_middle(SLOW_STEPS, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch=0.ckpt", "epoch=1.ckpt"]
    _, decided, weights = run(runs, "hidden")
    _, resumed, weights_again = run(runs, "hidden", resume=tmp_path / "epoch=1.ckpt")
    assert resumed == decided
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)


def test_own_seconds_are_part_of_the_epochs(runs: Any) -> None:
    started = time.perf_counter()
    frustration = LightningFrustration("val_acc", mode="hidden")
    runs.fit(frustration, epochs=4)
    wall = time.perf_counter() - started
    assert 0 < sum(r.own_seconds for r in frustration.records) <= wall
    assert all(r.own_seconds <= r.seconds for r in frustration.records)
