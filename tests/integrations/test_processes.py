"""Both callbacks in two processes: the same draws, scores and weights in each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIGHTNING = """
import os, sys, warnings
import lightning.pytorch as pl
import torch
from antifragile.integrations.lightning import LightningFrustration
from tests.integrations import lightning_runs as runs

class Module(runs.Digits):
    def validation_step(self, batch, number):
        scores = self.net(batch[0])
        right = (scores.argmax(1) == batch[1]).float().mean()
        self.log("val_acc", right, sync_dist=sys.argv[1] == "reduced")

class Tell(pl.Callback):
    def on_train_end(self, trainer, module):
        told = [(r.score, r.ablated) for r in trainer.callbacks[0].records]
        print("RANK", trainer.global_rank, told, module.net[3].weight.sum().item(), flush=True)

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
        line = ("RANK", args.process_index, told, model.net[3].weight.sum().item())
        print(*line, flush=True)

if __name__ == "__main__":
    frustration = HuggingFaceFrustration("accuracy")
    runs.train(
        frustration, Path(sys.argv[1]), model=runs.Digits(), callbacks=(Tell(),),
        save_strategy="epoch", ddp_backend="gloo",
    )
"""


def two_processes(script: Path, *arguments: str, launch: tuple[str, ...] = ()) -> str:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, *launch, str(script), *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    return done.stdout + done.stderr


def told(output: str) -> list[str]:
    lines = [line for line in output.splitlines() if line.startswith("RANK")]
    return sorted(line.split(maxsplit=2)[2] for line in lines)


@pytest.mark.slow
@pytest.mark.usefixtures("lightning_is_here")
def test_lightning_s_processes_agree(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(LIGHTNING)
    output = two_processes(script, "reduced")
    assert len(told(output)) == 2, output[-2000:]
    assert told(output)[0] == told(output)[1]
    assert "[" in told(output)[0].partition("'")[2], "a unit was hit"


@pytest.mark.slow
@pytest.mark.usefixtures("lightning_is_here")
def test_a_metric_that_is_not_reduced_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(LIGHTNING)
    assert "metric 'val_acc' differs between processes" in two_processes(script, "apart")


@pytest.mark.slow
@pytest.mark.usefixtures("transformers_are_here")
def test_hugging_face_s_processes_agree(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(HUGGINGFACE)
    launch = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
    output = two_processes(script, str(tmp_path / "out"), launch=launch)
    assert len(told(output)) == 2, output[-2000:]
    assert told(output)[0] == told(output)[1]
    assert "[" in told(output)[0].partition("'")[2], "a unit was hit"
