"""Inputs of a model are listed when the command line, or a spec file, asks for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

MODEL = """
import torch
from torch import nn


def build():
    return Model()


def inputs():
    return (torch.randn(4, 2),)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(x)
"""
WORDS = ("--source", "model.py", "--build", "model.py:build", "--inputs", "model.py:inputs")
SPEC = 'source = ["model.py"]\nbuild = "model.py:build"\ninputs = "model.py:inputs"\n'


@pytest.fixture
def folder(home: Path) -> Path:
    (home / "model.py").write_text(MODEL)
    return home


def names(cli: Cli, *words: str) -> list[str]:
    said = cli("ablate", "discover", *words, "--json")
    assert (said.code, said.err) == (0, "")
    return [item["name"] for item in json.loads(said.out)["components"]]


def test_inputs_are_listed_where_they_are_asked_for(cli: Cli, folder: Path) -> None:
    (folder / "asking.toml").write_text(f"{SPEC}inputs_as_components = true\n")
    listed = ["Model.layer", "input:x", "input:x[0]", "input:x[1]"]
    assert names(cli, *WORDS) == listed[:1]
    assert names(cli, *WORDS, "--inputs-as-components") == listed
    assert names(cli, "--spec", "asking.toml") == listed


def test_a_flag_in_a_spec_file_is_true_or_false(cli: Cli, folder: Path) -> None:
    (folder / "wrong.toml").write_text(f'{SPEC}inputs_as_components = "yes"\n')
    said = cli("ablate", "discover", "--spec", "wrong.toml")
    assert said.code == 2
    assert "inputs_as_components must be true or false; got 'yes'." in said.err
