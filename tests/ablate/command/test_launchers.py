"""Commands that start Python by way of something else: launchers, notebooks, variables, folders."""

from __future__ import annotations

import importlib.util
import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from antifragile.ablate.command.command import Command
from antifragile.ablate.command.launch import PreviewSeen
from antifragile.ablate.command.preview import (
    CommandModel,
    marks_elsewhere,
    model_files,
    watch_model,
)
from antifragile.ablate.command.program import without_folder
from antifragile.ablate.options import ModelOptions
from antifragile.ablate.request import read_spec
from antifragile.ablate.sandbox.job import Limits
from antifragile.ablate.sandbox.server import Server
from antifragile.errors import UsageError
from tests.ablate.command.launching import PYTHON, Repository
from tests.required_here import not_here

MODEL = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        return self.head(x + self.first(x))
"""
TRAIN = """\
import json, os, sys, torch
import torch.distributed as dist
from model import Net

torch.manual_seed(0)
net = Net()
if "RANK" in os.environ:
    dist.init_process_group("gloo")
    net = torch.nn.parallel.DistributedDataParallel(net)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(4):
    loss = net(torch.randn(8, 4)).square().mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
if "RANK" in os.environ:
    dist.destroy_process_group()
json.dump({"value": loss.item()}, open(sys.argv[1] + "/m.json", "w"))
"""
CUT = {"model.py": MODEL.replace("x + self.first(x)", "x")}  # self.first is left unused


def watched(command: str, folder: Path) -> CommandModel:
    """Watch a command for one step."""
    return watch_model(
        Command.read(command, folder=folder),
        folder / "study_entry.py",
        steps=1,
        limits=Limits(timeout_s=120),
    )


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder with a script in a folder of its own."""
    inner = tmp_path / "code" / "src"
    inner.mkdir(parents=True)
    (inner / "model.py").write_text(MODEL)
    (inner / "train").write_text(TRAIN)
    return inner.parent


@pytest.mark.slow
def test_parallel_training_allows_what_a_variant_leaves_unused(
    server: Server, tmp_path: Path
) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    repository = Repository(
        server=server,
        root=root,
        files={"model.py": MODEL, "train.py": TRAIN},
        command="-m torch.distributed.run --standalone --nproc-per-node 2 train.py {out}",
    )
    kept = tmp_path / "kept.safetensors"
    baseline = repository.run(keeps=kept)
    assert baseline.outcome.failure is None, baseline.outcome.reason
    assert repository.run().outcome.value == baseline.outcome.value
    variant = repository.run(CUT, starts=kept)
    assert variant.outcome.failure is None, variant.outcome.reason
    assert variant.outcome.value != baseline.outcome.value
    [(name, hashes)] = baseline.notes.first_step.items()
    assert variant.notes.first_step == {name: hashes}
    failed = repository.run({"model.py": MODEL.replace("return ", "return wrong + ")})
    assert "NameError: name 'wrong' is not defined (see" in failed.outcome.reason


def test_the_error_is_said_where_a_launcher_says_more_after_it(
    server: Server, tmp_path: Path
) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    lines = ["[rank0]: \x1b[31mRuntimeError\x1b[0m: no data", *"====", "FAILED: see", "the", "logs"]
    said = "\n".join(lines)
    script = f"import sys\nsys.stderr.write({said!r})\nsys.exit(1)\n"
    repository = Repository(
        server=server, root=root, files={"train.py": script}, command="train.py"
    )
    reason = repository.run().outcome.reason
    assert "the command ended with exit code 1: [rank0]: RuntimeError: no data (see " in reason
    shared, where = without_folder(f"{reason}; and more of {tmp_path / 'run-1' / 'out' / 'out'}/x")
    assert where == f" (see {tmp_path / 'run-1' / 'out'})"
    assert shared.endswith("RuntimeError: no data; and more of {out}/x")


@pytest.mark.slow
def test_the_folder_and_the_variables_that_a_command_sets_are_kept(code: Path) -> None:
    line = f"cd src && exec env SIZE=4 OUT={{out}}/x {PYTHON} train {{out}}"
    found = watched(f"sh -c {shlex.quote(line)}", code)
    assert Path(found.seen.folder) == code / "src"
    assert found.seen.variables["SIZE"] == "4"
    assert found.seen.variables["OUT"] == "{out}/x"
    assert not {"PATH", "PWD", "ANTIFRAGILE_RUN", "PYTHONPATH"} & set(found.seen.variables)
    text = found.entry.read_text()
    assert "SCRIPT: str = 'src/train'" in text
    assert "FOLDER: str = 'src'" in text
    assert "WORDS: list[str] = ['{out}']" in text


@pytest.mark.slow
def test_code_that_is_no_file_is_a_sentence(code: Path) -> None:
    (code / "src" / "train.py").write_text(TRAIN)
    with pytest.raises(UsageError, match=r"is no file \(python -c, or typed in\).*put it into a"):
        watched(f"{PYTHON} -c 'import sys; sys.path[0] = \"src\"; import train' {{out}}", code)


@pytest.mark.slow
def test_the_users_files_that_ran_are_known(code: Path) -> None:
    (code / "src" / "other.py").write_text("")
    found = watched(f"{PYTHON} src/train {{out}}", code)
    assert found.seen.ran == tuple(str(code / "src" / name) for name in ("model.py", "train"))


@pytest.mark.slow
def test_a_step_is_written_beside_what_the_command_shows(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(code)
    line, step = f"{PYTHON} src/train {{out}}", "src/model.py:step"
    options = ModelOptions(command=line, spec="study.toml", step=step)
    with options.request(Limits(timeout_s=120), said=lambda _: None) as request:
        assert (request.step, read_spec(Path("study.toml"))["step"]) == (step, step)


def seen_in(folder: Path, *ran: Path) -> PreviewSeen:
    """What is seen of a model that is written in a notebook."""
    return PreviewSeen(
        script="",
        module="",
        cells=("class Net: ...",),
        folder=str(folder),
        arguments=(),
        variables={},
        model="__main__.Net",
        parameters=1,
        files=(),
        has_inputs=False,
        seconds=(),
        ran=tuple(map(str, ran)),
    )


def test_marks_in_files_that_are_not_edited_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model, train, damaged = (tmp_path / name for name in ("net.py", "train it.py", "bad.py"))
    model.write_text("x = 1  # ablate: mine\n")
    train.write_text("loss = 1\nloss += 2  # ablate: smoothness\nloss += 3  # ablate:\n")
    damaged.write_bytes(b"\xff # ablate: no text\n")
    seen = seen_in(tmp_path, model, train, damaged)
    found = CommandModel(source=(Path("net.py"),), entry=tmp_path / "e.py", seen=seen)
    assert marks_elsewhere(found) == (
        "train it.py:2 has the mark 'smoothness', train it.py:3 has the mark 'line 3', but "
        "train it.py is not among the files that may be edited; give --source net.py "
        "'train it.py', and --step FILE.py:function for what lies in the loss."
    )
    assert marks_elsewhere(replace(found, source=(model, train))) == ""


def test_a_model_in_cells_of_a_notebook_is_a_sentence(tmp_path: Path) -> None:
    seen = seen_in(tmp_path)
    with pytest.raises(UsageError, match=r"__main__\.Net is written in cells of a notebook.*move"):
        model_files(seen, tmp_path)


@pytest.mark.slow
def test_magics_of_a_notebook_are_run_too(code: Path) -> None:
    for package in ("nbconvert", "ipykernel"):
        if importlib.util.find_spec(package) is None:
            not_here(f"needs {package}")
    train = TRAIN.replace("sys.argv[1]", 'os.environ["OUT"]')
    cells = ["%matplotlib inline\n%cd src", "%env SIZE=4", f"%%time\n{train}"]
    metadata = {"kernelspec": {"display_name": "", "language": "python", "name": "python3"}}
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "metadata": {},
                "outputs": [],
                "source": cell,
            }
            for cell in cells
        ],
        "metadata": metadata,
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    (code / "digits.ipynb").write_text(json.dumps(notebook))
    execute = f"{PYTHON} -m nbconvert --to notebook --execute digits.ipynb --output-dir {{out}}"
    found = watched(f"env OUT={{out}} {execute}", code)
    assert found.seen.model == "model.Net"
    assert len(found.seen.cells) == 3
    assert found.source == (code / "src" / "model.py",)
    names = {"__file__": str(found.entry), "__name__": "study_entry"}
    exec(compile(found.entry.read_text(), str(found.entry), "exec"), names)
    build = names["build"]
    assert callable(build)
    assert [type(build()).__name__ for _ in range(2)] == ["Net", "Net"]
