"""Good inputs, from which broken ones are made: a spec, arrays, results, a store, an ablation set.

They are made once, by the program itself, in a folder that later stretches find again.
"""

from __future__ import annotations

import contextlib
import gzip
import io
from pathlib import Path

import numpy as np

from antifragile.cli.main import run

SPEC = """name = "small"
dataset = "tiny"
architectures = ["1*4", "2*2"]
modes = ["none", "output"]
trials = 2
meta_loops = 3
seed = 7
keep = "lkg"
evaluate = { harm = true, robustness = true }

[training]
learning_rate = 0.01
batch_size = 8
perturb = [{ preset = "annealed_gradient_noise", eta = 0.1 }]
"""
MODEL = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp, self.act, self.out = nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)

    def forward(self, x):
        return self.out(self.act(self.inp(x)))


def build():
    return Net()


def inputs():
    return (torch.randn(5, 8),)
"""
EXPERIMENT = """import torch


def run(build_model, seed, data_order_seed):
    model = build_model()
    torch.manual_seed(0)
    x, y = torch.randn(32, 8), torch.randint(0, 4, (32,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return {"accuracy": float((model(x).argmax(1) == y).float().mean()), "loss": 1.5}
"""
FUNCTIONS = ("--build", "model.py:build", "--inputs", "model.py:inputs")
READY = "ready"


def prepare(folder: Path) -> Path:
    """Make the good inputs below a folder, or find them there; returns their folder."""
    place = folder / "good"
    if (place / READY).exists():
        return place
    place.mkdir(parents=True, exist_ok=True)
    _write_files(place)
    _command(place, "study", "run", "spec.toml", "--store", "runs.db", "--workers", "1")
    train = ("train", "--dataset", "tiny", "--arch", "1*4", "--meta-loops", "3", "--out", "out")
    _command(place, *train)
    _command(place, "study", "export", "--store", "runs.db", "--out", "curves.csv")
    export = ("study", "export", "--store", "runs.db", "--table", "trials")
    _command(place, *export, "--out", "trials.csv")
    source = ("ablate", "generate", "--source", "model.py", *FUNCTIONS)
    _command(place, *source, "--out", "variants", "--workers", "1")
    study = ("ablate", "run", "variants", "--experiment", "train.py:run", "--seeds", "3")
    _command(place, *study, "--workers", "1")
    (place / READY).touch()
    return place


def _write_files(place: Path) -> None:
    (place / "spec.toml").write_text(SPEC)
    (place / "model.py").write_text(MODEL)
    (place / "train.py").write_text(EXPERIMENT)
    rng = np.random.default_rng(0)
    images, labels = rng.random((40, 6), dtype=np.float32), rng.integers(0, 3, 40)
    labels[:3] = range(3)
    np.savez(place / "data.npz", images=images, labels=labels)
    pixels = rng.integers(0, 256, (5, 4, 4)).astype(np.uint8)
    idx = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in pixels.shape)
    (place / "images.idx").write_bytes(idx + pixels.tobytes())
    (place / "images.idx.gz").write_bytes(gzip.compress(idx + pixels.tobytes(), mtime=0))


def _command(place: Path, *words: str) -> None:
    """Run a command line in a folder, quietly; it must succeed."""
    said = io.StringIO()
    quiet = contextlib.redirect_stdout(said), contextlib.redirect_stderr(said)
    with contextlib.chdir(place), quiet[0], quiet[1]:
        code = run(list(words))
    if code != 0:
        line = " ".join(words)
        raise SystemExit(
            f"cannot make the good inputs: {line} ended with {code}: {said.getvalue()}"
        )
