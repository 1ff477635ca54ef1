"""One training as a function and as a command: the same seeds give the same numbers, bit for bit.

What the command has to take: ``{seed}`` and ``{order}``, which the function is handed under the
same names, and ``{init}`` and ``{stream}``, under which the function form builds the model and
draws afterwards.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from antifragile.ablate.command.command import Command
from antifragile.ablate.command.metrics import MetricSource
from antifragile.ablate.frameworks.torch.framework import TORCH
from antifragile.ablate.sandbox.limits.mechanisms import NONE
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.study.experiment import CommandExperiment, Experiment
from antifragile.ablate.study.folder import read_ablation_folder
from antifragile.ablate.study.request import AblationRequest
from antifragile.ablate.study.server import StudyProcesses, training_modules
from antifragile.ablate.study.study import run_ablation
from antifragile.store.ablation import AblationStore
from tests.ablate.study.small_study import CUTS, EXPERIMENT, MODEL, make_folder, write

ARMS = ("model-gate--identity", "model-extra--identity")
DROPS = MODEL.replace("return self.last(h)", "return self.last(nn.functional.dropout(h, 0.2))")
TRAIN = """\
import json, pathlib, sys
import torch
import experiment, model

seed, order, init, stream = map(int, sys.argv[1:5])


def build():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init)
        return model.build()


torch.manual_seed(stream)
found = experiment.run(build, seed, order)
numbers = {key: float(value) for key, value in found.items()}
pathlib.Path(sys.argv[5], "m.json").write_text(json.dumps(numbers))
"""
Numbers = dict[tuple[tuple[str, ...], int, str], dict[str, float]]


def numbers(place: Path, experiment: Experiment) -> Numbers:
    """The metrics of all runs of a study under two seeds."""
    folder = read_ablation_folder(place / "variants")
    preload = training_modules(TORCH)
    with (
        Server(workers=2, mechanisms=NONE, preload=preload) as server,
        AblationStore(str(place / "study.db")) as store,
    ):
        request = AblationRequest(name="made", experiment=experiment, arms=ARMS, seeds=(1, 2))
        outcome = run_ablation(request, folder, store, processes=StudyProcesses(server=server))
    assert (outcome.n_failed, outcome.notes) == (0, ())
    runs = outcome.manifest.runs
    return {(tuple(r.ablated), r.seed, r.role.value): dict(r.metrics or {}) for r in runs}


@pytest.mark.slow
@pytest.mark.parametrize("model", [MODEL, DROPS], ids=["plain", "dropout"])
def test_function_and_command_give_the_same_numbers(model: str, tmp_path: Path) -> None:
    cuts = {name: CUTS[name] for name in ARMS}
    make_folder(tmp_path, model=model, cuts=cuts)
    source = tmp_path / "source"
    write(source / "experiment.py", EXPERIMENT)
    write(source / "train.py", TRAIN)
    text = f"{sys.executable} train.py {{seed}} {{order}} {{init}} {{stream}} {{out}}"
    metrics = tuple(MetricSource.read(f"json:{{out}}/m.json:{m}") for m in ("accuracy", "loss"))
    by_command = Experiment.from_command(
        CommandExperiment(command=Command.read(text, folder=source), metrics=metrics)
    )
    command = numbers(tmp_path, by_command)
    function = numbers(tmp_path, Experiment.from_file(f"{source / 'experiment.py'}:run"))
    assert command == function
    assert {key[2] for key in function} == {"run", "repeat", "placebo"}
    losses = {round(found["loss"], 12) for found in function.values()}
    assert len(losses) == 8  # two variants, baseline and placebo, each under two seeds
