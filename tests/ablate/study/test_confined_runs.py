"""Training runs that are confined by option, and give the same numbers as those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.pipeline import find_components, make_ablations
from antifragile.ablate.records import AblationKind
from antifragile.ablate.sandbox.limits.probe import find_mechanisms
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import load_project
from antifragile.ablate.study.experiment import Experiment
from antifragile.ablate.study.folder import read_ablation_folder
from antifragile.ablate.study.request import AblationRequest, TrainingProtocol
from antifragile.ablate.study.server import StudyProcesses
from antifragile.ablate.study.study import AblationOutcome, run_ablation
from antifragile.store.ablation import AblationStore

MODEL = """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


def build():
    return Net()


def inputs():
    return (torch.randn(3, 4),)
"""
EXPERIMENT = """
import os
import subprocess

import torch


def run(build_model, seed, data_order_seed):
    subprocess.run(["touch", {outside!r}], check=False)
    subprocess.run(["touch", "inside", os.path.expanduser("~/at-home")], check=False)
    model = build_model()
    return evaluate(model, seed)


def evaluate(model, seed, data_order_seed=0):
    with torch.no_grad():
        return {{"loss": model(torch.ones(1, 4)).square().sum()}}
"""

LEAVES_A_FILE = """
from pathlib import Path


def run(build_model, seed, data_order_seed):
    build_model()
    import inspect

    for frame in inspect.stack():
        if "given" in frame.frame.f_locals:
            kept = Path(frame.frame.f_locals["given"].scratch, "kept.safetensors")
            with kept.open("wb") as file:
                file.truncate(2**20)
    return {"loss": 0.5}


def evaluate(model, seed, data_order_seed=0):
    return {"loss": 0.5}
"""


@pytest.fixture
def place(tmp_path: Path, tracing: Server) -> Path:
    """A folder with certified variants and an experiment that writes beside it."""
    path = tmp_path / "source" / "model.py"
    path.parent.mkdir()
    path.write_text(MODEL)
    (tmp_path / "experiment.py").write_text(EXPERIMENT.format(outside=str(tmp_path / "outside")))
    project = load_project([path], f"{path}:build", f"{path}:inputs")
    plan = find_components(project, server=tracing)
    make_ablations(plan, tmp_path / "out", server=tracing, kinds=[AblationKind.IDENTITY])
    return tmp_path


def studied(
    place: Path,
    name: str,
    *,
    is_confined: bool,
    protocols: tuple[TrainingProtocol, ...] = (TrainingProtocol.RETRAIN, TrainingProtocol.POST_HOC),
) -> AblationOutcome:
    folder = read_ablation_folder(place / "out")
    request = AblationRequest(
        name="made",
        experiment=Experiment.from_file(f"{place / 'experiment.py'}:run"),
        arms=[folder.arms[-1].name],
        protocols=protocols,
        seeds=(1,),
    )
    with AblationStore(str(place / f"{name}.db")) as store:
        processes = StudyProcesses(is_confined=is_confined)
        return run_ablation(request, folder, store, processes=processes)


def numbers(outcome: AblationOutcome) -> list[object]:
    return [run.metrics for run in outcome.manifest.runs]


def test_a_confined_run_writes_in_its_own_places_alone_and_computes_the_same(place: Path) -> None:
    if not find_mechanisms().landlock:
        pytest.skip("this system cannot keep programs from writing")
    confined = studied(place, "confined", is_confined=True)
    assert confined.n_failed == 0
    assert not (place / "outside").exists()
    free = studied(place, "free", is_confined=False)
    assert free.n_failed == 0
    assert (place / "outside").exists()
    assert numbers(confined) == numbers(free)
    assert None not in numbers(free)


def test_trained_values_that_nobody_asked_for_are_not_taken(place: Path) -> None:
    (place / "experiment.py").write_text(LEAVES_A_FILE)
    retrained = (TrainingProtocol.RETRAIN,)
    assert studied(place, "left", is_confined=True, protocols=retrained).n_failed == 0
    assert list(place.rglob("*.safetensors")) == []
    assert studied(place, "kept", is_confined=True).n_failed == 0
    assert len(list(place.rglob("*.safetensors"))) == 1
