"""HuggingFaceFrustration across the trainer's checkpoints: exact, and after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from antifragile.errors import CheckpointError
from antifragile.integrations.huggingface import FILE, HuggingFaceFrustration
from tests.integrations.killing import kill_in_the_middle

if TYPE_CHECKING:
    import tests.integrations.huggingface_runs as huggingface_runs

MODES = ["hidden", "dropout", "output+persistent", "none+restart=2", "hidden+patience=1"]


@pytest.fixture(scope="module")
def runs(transformers_are_here: None) -> huggingface_runs:
    """Import what needs transformers."""
    import tests.integrations.huggingface_runs as huggingface_runs

    return huggingface_runs


def run(runs: Any, folder: Path, mode: str, **options: Any) -> tuple[list[Any], dict[str, Any]]:
    frustration = HuggingFaceFrustration("accuracy", mode=mode, fresh=runs.Digits)
    options = {"save_strategy": "steps", "save_steps": 8, **options}
    trainer = runs.train(frustration, folder, model=runs.Digits(), epochs=4, **options)
    decided = [(r.meta_loop, r.score, r.bounty, r.promoted, r.ablated) for r in frustration.records]
    return decided, runs.weights(trainer)


@pytest.mark.parametrize("mode", MODES)
def test_resuming_equals_an_uninterrupted_run(runs: Any, tmp_path: Path, mode: str) -> None:
    decided, weights = run(runs, tmp_path, mode)
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert len(folders) == 8, "16 steps an epoch: at the middle and the end of each"
    for step in (16, 24, 48):
        resume = str(tmp_path / f"checkpoint-{step}")
        decided_again, weights_again = run(runs, tmp_path, mode, resume=resume)
        assert decided_again == decided
        assert all(torch.equal(weights[name], weights_again[name]) for name in weights)


def test_a_checkpoint_that_lacks_our_file_is_refused(runs: Any, tmp_path: Path) -> None:
    run(runs, tmp_path, "hidden")
    (tmp_path / "checkpoint-16" / FILE).unlink()
    with pytest.raises(CheckpointError, match=rf"checkpoint-16 has no {FILE}"):
        run(runs, tmp_path, "hidden", resume=str(tmp_path / "checkpoint-16"))


def test_a_damaged_file_is_refused(runs: Any, tmp_path: Path) -> None:
    run(runs, tmp_path, "hidden")
    (tmp_path / "checkpoint-16" / FILE).write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(CheckpointError, match="is damaged"):
        run(runs, tmp_path, "hidden", resume=str(tmp_path / "checkpoint-16"))


def test_another_mode_cannot_go_on(runs: Any, tmp_path: Path) -> None:
    run(runs, tmp_path, "hidden")
    with pytest.raises(CheckpointError, match="mode='hidden', and the callback has mode='none'"):
        run(runs, tmp_path, "none", resume=str(tmp_path / "checkpoint-16"))


SLOW_STEPS = """
import sys, time
from pathlib import Path
from transformers import TrainerCallback
from antifragile.integrations.huggingface import HuggingFaceFrustration
from tests.integrations import huggingface_runs as runs

class Wait(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 42:
            print("in the middle", flush=True)
            time.sleep(600)

runs.train(
    HuggingFaceFrustration("accuracy"), Path(sys.argv[1]), model=runs.Digits(), epochs=4,
    callbacks=(Wait(),), save_strategy="epoch",
)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_exactly(runs: Any, tmp_path: Path) -> None:
    kill_in_the_middle(SLOW_STEPS, tmp_path)
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert folders == ["checkpoint-16", "checkpoint-32"]
    decided, weights = run(runs, tmp_path / "whole", "hidden", save_strategy="no")
    resume = str(tmp_path / "checkpoint-32")
    resumed, weights_again = run(runs, tmp_path, "hidden", resume=resume, save_strategy="no")
    assert resumed == decided
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)
