"""``antifragile units``: a table of what can be ablated, and one sentence for wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from antifragile.cli.main import run

MODEL = """
import torch
from torch import nn

def build():
    print("a line of the user's own")
    return nn.Sequential(
        nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 2)
    )

def inputs():
    return torch.ones(3, 4)

def wrong_inputs():
    return torch.ones(3, 7)

def breaks():
    raise KeyError("no weights here")
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


def units(model: Path, build: str = "build", inputs: str = "inputs", *more: str) -> int:
    return run(["units", "--build", f"{model}:{build}", "--inputs", f"{model}:{inputs}", *more])


def test_the_table_names_units_and_what_has_none(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert units(model) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["0", "neuron", "5", "11", "2"] in lines
    assert ["5", "output", "2", "7", "the", "output"] in lines
    assert any(line[:2] == ["2", "all"] for line in lines)


def test_json_is_clean_whatever_the_users_code_prints(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert units(model, "build", "inputs", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    first = found["groups"][0]
    assert (first["layer"], first["kind"], first["units"]) == ("0", "neuron", 5)
    assert first["entries"] == {"0.weight": 4, "0.bias": 1, "2.weight": 6}
    assert [row["layer"] for row in found["refused"]] == ["2"]


@pytest.mark.parametrize(
    ("build", "inputs", "message"),
    [
        ("biuld", "inputs", "has no function 'biuld'; did you mean 'build'?"),
        ("inputs", "inputs", "returned a Tensor, expected a torch.nn.Module"),
        ("breaks", "inputs", "raised KeyError: 'no weights here' (model.py:18)"),
        ("build", "wrong_inputs", "cannot be run on these inputs (RuntimeError: mat1 and"),
    ],
)
def test_wrong_functions_get_one_sentence(
    build: str, inputs: str, message: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert units(model, build, inputs) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("model.py", "is no function of a file; write it as model.py:build"),
        ("nowhere.py:build", "no file at nowhere.py"),
    ],
)
def test_wrong_references_get_one_sentence(
    reference: str, message: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["units", "--build", reference, "--inputs", f"{model}:inputs"]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_cannot_be_imported_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import torch\n1 / 0\n")
    assert units(path) == 2
    assert "broken.py raised ZeroDivisionError: division by zero" in capsys.readouterr().err
