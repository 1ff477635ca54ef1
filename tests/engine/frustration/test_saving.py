"""A saved engine goes on exactly, after a stop and after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from antifragile import FrustrationEngine, FrustrationRecord
from tests.engine.frustration.small_training import evaluate, small_model, train_epoch

ROOT = Path(__file__).parents[3]


def scores(records: list[FrustrationRecord]) -> list[tuple[object, ...]]:
    return [(r.meta_loop, r.score, r.bounty, r.promoted, r.ablated) for r in records]


@pytest.mark.parametrize(
    "mode",
    [
        "hidden",
        "none",
        "hidden+patience=2",
        "none+always-accept",
        "hidden+adaptive",
        "hidden+least-activation",
    ],
)
@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_run_is_the_uninterrupted_one(mode: str, stop: int, tmp_path: Path) -> None:
    path = tmp_path / "engine.safetensors"
    torch.manual_seed(5)
    run = FrustrationEngine(small_model(), train_epoch, evaluate, mode=mode, seed=2)
    list(run.run(stop))
    run.save(path)
    rest = list(run.run(8))
    torch.manual_seed(99)
    again = FrustrationEngine.resume(path, small_model(seed=9), train_epoch, evaluate)
    assert scores(list(again.run(8))) == scores(rest)
    ours, theirs = again.best().state_dict(), run.best().state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("mode", ["hidden+persistent", "none+continuous"])
def test_an_optimizers_memory_is_saved(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "engine.safetensors"
    torch.manual_seed(5)
    model = small_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    run = FrustrationEngine(model, train_epoch, evaluate, mode=mode, optimizer=optimizer)
    list(run.run(3))
    run.save(path)
    rest = list(run.run(6))
    other = small_model(seed=9)
    fresh = torch.optim.AdamW(other.parameters(), lr=1e-2)
    again = FrustrationEngine.resume(path, other, train_epoch, evaluate, optimizer=fresh)
    assert scores(list(again.run(6))) == scores(rest)


SCRIPT = """
import sys, time
from pathlib import Path
import torch
from antifragile import FrustrationEngine
from tests.engine.frustration.small_training import evaluate, small_model, train_epoch

path = Path(sys.argv[1])
def slow(model):
    time.sleep(float(sys.argv[2]))
    return train_epoch(model)

torch.manual_seed(5)
if path.exists():
    engine = FrustrationEngine.resume(path, small_model(seed=9), slow, evaluate)
else:
    engine = FrustrationEngine(small_model(), slow, evaluate, mode="hidden+patience=2", seed=2)
for record in engine.run(8):
    engine.save(path)
    print(record.meta_loop, record.score, record.ablated, flush=True)
"""


def test_a_killed_script_goes_on_exactly(tmp_path: Path) -> None:
    whole = subprocess.run(
        command(tmp_path / "a.safetensors", 0),
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    killed = subprocess.Popen(
        command(tmp_path / "b.safetensors", 0.3),
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert killed.stdout is not None
    lines = [killed.stdout.readline() for _ in range(3)]
    time.sleep(0.1)  # into the epoch of the next meta-loop
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    rest = subprocess.run(
        command(tmp_path / "b.safetensors", 0),
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    assert "".join(lines) + rest.stdout == whole.stdout


def command(path: Path, pause: float) -> list[str]:
    return [sys.executable, "-c", SCRIPT, str(path), str(pause)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
