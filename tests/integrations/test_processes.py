"""Both callbacks in two processes: the same draws, scores and weights in each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIGHTNING = """
import os, sys, warnings
from pathlib import Path
import lightning.pytorch as pl
import torch
from antifragile.integrations.lightning import LightningFrustration
from tests.integrations import lightning_runs as runs

class Module(runs.Digits):
    def validation_step(self, batch, number):
        scores = self.net(batch[0])
        right = (scores.argmax(1) == batch[1]).float().mean()
        self.log("val_acc", right, sync_dist=sys.argv[2] == "reduced")

class Tell(pl.Callback):
    def on_train_end(self, trainer, module):
        told = [(r.score, r.ablated) for r in trainer.callbacks[0].records]
        file = Path(sys.argv[1], f"rank-{trainer.global_rank}")
        file.write_text(f"{told} {module.net[3].weight.sum().item()}")

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    runs.fit(
        LightningFrustration("val_acc"), module=Module(), callbacks=(Tell(),),
        strategy="ddp_spawn", devices=2,
    )
"""

HUGGINGFACE = """
import sys
from pathlib import Path
from transformers import TrainerCallback
from antifragile.integrations.huggingface import HuggingFaceFrustration
from tests.integrations import huggingface_runs as runs

class Tell(TrainerCallback):
    def on_train_end(self, args, state, control, model, **kwargs):
        told = [(r.score, r.ablated) for r in frustration.records]
        file = Path(sys.argv[1], f"rank-{args.process_index}")
        file.write_text(f"{told} {model.net[3].weight.sum().item()}")

if __name__ == "__main__":
    frustration = HuggingFaceFrustration("accuracy")
    runs.train(
        frustration, Path(sys.argv[1], "out"), model=runs.Digits(), callbacks=(Tell(),),
        save_strategy="epoch", ddp_backend="gloo",
    )
"""


def two_processes(folder: Path, text: str, *arguments: str, launch: tuple[str, ...] = ()) -> str:
    root = Path(__file__).parents[2]
    script = folder / "train.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, *launch, str(script), str(folder), *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    return done.stdout + done.stderr


def assert_ranks_agree(folder: Path, output: str) -> None:
    """Compare what the two processes wrote, each into its file (a shared stream interleaves)."""
    told = [file.read_text() for file in sorted(folder.glob("rank-*"))]
    assert len(told) == 2, output[-2000:]
    assert told[0] == told[1]
    assert "[" in told[0].partition("'")[2], "a unit was hit"


@pytest.mark.slow
@pytest.mark.usefixtures("lightning_is_here")
def test_lightning_s_processes_agree(tmp_path: Path) -> None:
    assert_ranks_agree(tmp_path, two_processes(tmp_path, LIGHTNING, "reduced"))


@pytest.mark.slow
@pytest.mark.usefixtures("lightning_is_here")
def test_a_metric_that_is_not_reduced_is_refused(tmp_path: Path) -> None:
    output = two_processes(tmp_path, LIGHTNING, "apart")
    assert "metric 'val_acc' differs between processes" in output


@pytest.mark.slow
@pytest.mark.usefixtures("transformers_are_here")
def test_hugging_face_s_processes_agree(tmp_path: Path) -> None:
    launch = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
    assert_ranks_agree(tmp_path, two_processes(tmp_path, HUGGINGFACE, launch=launch))
