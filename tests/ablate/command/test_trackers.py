"""Metrics in what trackers leave on the disk, written by the trackers themselves."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from antifragile.ablate.command.metrics import MetricSource
from antifragile.ablate.sandbox.loading import Refusal
from antifragile.errors import MissingExtraError
from tests.required_here import not_here

WRITERS = {
    "tensorboard": """
import sys
from torch.utils.tensorboard import SummaryWriter
for name in sys.argv[2:]:
    with SummaryWriter(f"{sys.argv[1]}/{name}") as writer:
        for step, value in enumerate((1.0, float("inf"), 0.25)):
            writer.add_scalar("val/loss", value, step)
        writer.add_scalar("bad", float("nan"), 0)
""",
    "wandb": """
import os, sys
os.environ["WANDB_SILENT"] = "true"
import wandb
for name in sys.argv[2:]:
    os.makedirs(f"{sys.argv[1]}/{name}")
    run = wandb.init(mode="offline", project="p", dir=f"{sys.argv[1]}/{name}")
    for step, value in enumerate((1.0, 0.5, 0.25)):
        run.log({"val/loss": value, "text": "x" * 20_000})
    run.log({"bad": float("nan")})
    run.finish()
""",
    "mlflow": """
import sys, mlflow
mlflow.set_tracking_uri(f"sqlite:///{sys.argv[1]}/mlflow.db")
for name in sys.argv[2:]:
    with mlflow.start_run():
        for step, value in enumerate((1.0, 0.5, 0.25)):
            mlflow.log_metric("val/loss", value, step=step)
        mlflow.log_metric("bad", float("nan"))
""",
    "mlflow, files": """
import os, sys
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
import mlflow
mlflow.set_tracking_uri(f"file://{sys.argv[1]}/mlruns")
for name in sys.argv[2:]:
    with mlflow.start_run():
        for step, value in enumerate((1.0, 0.5, 0.25)):
            mlflow.log_metric("val/loss", value, step=step)
        mlflow.log_metric("bad", float("nan"))
""",
}
PLACES = {"mlflow": "{out}/mlflow.db", "mlflow, files": "{out}/mlruns"}


def written(kind: str, folder: Path, *runs: str) -> None:
    """Let a tracker write runs of these names."""
    words = [sys.executable, "-W", "ignore", "-c", WRITERS[kind], str(folder), *runs]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=120, cwd=folder)
    if "ModuleNotFoundError" in ran.stderr:
        not_here(ran.stderr.strip().splitlines()[-1])
    assert ran.returncode == 0, ran.stderr[-2000:]


def source_of(kind: str, name: str) -> MetricSource:
    """The source of a metric below a run's folder."""
    return MetricSource.read(f"{kind.partition(',')[0]}:{PLACES.get(kind, '{out}')}:{name}")


def places_of(folder: Path) -> dict[str, str]:
    """What stands for the places of a run."""
    return {"out": str(folder), "seed": "1", "order": "2"}


def value(kind: str, name: str, folder: Path) -> float:
    """Read a metric below a run's folder."""
    return source_of(kind, name).values(places_of(folder), folder, folder)[-1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_the_last_value_of_the_one_run_is_read(kind: str, tmp_path: Path) -> None:
    written(kind, tmp_path, "one")
    assert value(kind, "val/loss", tmp_path) == 0.25
    assert math.isnan(value(kind, "bad", tmp_path))
    with pytest.raises(Refusal, match=r"no run of \w+ below .* has 'val/los'"):
        value(kind, "val/los", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_a_run_of_before_is_not_this_runs(kind: str, tmp_path: Path) -> None:
    source, places = source_of(kind, "val/loss"), places_of(tmp_path)
    assert source.earlier(places, tmp_path) == {}
    written(kind, tmp_path, "one")
    earlier = source.earlier(places, tmp_path)
    with pytest.raises(Refusal, match=r"no run of \w+ below .* has 'val/loss'"):
        source.values(places, tmp_path, tmp_path, earlier)
    written(kind, tmp_path, "two")
    assert source.values(places, tmp_path, tmp_path, earlier)[-1] == 0.25


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_two_runs_are_one_too_many(kind: str, tmp_path: Path) -> None:
    written(kind, tmp_path, "one", "two")
    with pytest.raises(Refusal, match=r"2 runs of \w+ below .* have 'val/loss' \(.*name the"):
        value(kind, "val/loss", tmp_path)


@pytest.mark.parametrize("kind", ["tensorboard", "wandb", "mlflow"])
def test_nothing_there_is_a_sentence(kind: str, tmp_path: Path) -> None:
    with pytest.raises((Refusal, MissingExtraError)) as refused:
        value(kind, "val/loss", tmp_path / "none")
    assert "the command left no" in str(refused.value) or "pip install" in str(refused.value)


@pytest.mark.parametrize(("kind", "file"), [("mlflow", "mlflow.db"), ("wandb", "run-x.wandb")])
def test_a_damaged_file_is_a_sentence(kind: str, file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(b"no such thing" * 100)
    with pytest.raises((Refusal, MissingExtraError)) as refused:
        value(kind, "val/loss", tmp_path)
    words = str(refused.value)
    assert any(part in words for part in ("is damaged", "no run of wandb", "pip install"))


def test_a_package_that_is_missing_is_said_before_any_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antifragile.ablate.command.metrics.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'antifragile\[wandb\]'"):
        MetricSource.read("wandb:{out}:val_loss")
