"""``antifragile ablate discover`` and ``generate``: what they make, a sentence for each wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import contents
from tests.cli.conftest import Cli

MODEL = """
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        x = x + torch.tanh(self.first(x))
        return self.last(x)


def build():
    return Model()


def inputs():
    return (torch.randn(4, 8),)
"""
WORDS = ("--source", "model.py", "--build", "model.py:build", "--inputs", "model.py:inputs")


@pytest.fixture
def model(home: Path) -> Path:
    path = home / "model.py"
    path.write_text(MODEL)
    return path


def test_discover_lists_what_ran(cli: Cli, model: Path) -> None:
    said = cli("ablate", "discover", *WORDS, "--json")
    assert (said.code, said.err) == (0, "")
    components = json.loads(said.out)["components"]
    modules = {item["name"]: item for item in components if item["kind"] == "module"}
    for name in ("Model.first", "Model.last"):
        assert modules[name]["ran"]
        assert modules[name]["calls"] == 1
    assert {"residual", "functional"} <= {item["kind"] for item in components}


def test_further_files_follow_the_first(cli: Cli, home: Path, model: Path) -> None:
    (home / "model.py").rename(home / "net.py")
    model.write_text("from net import *\n")
    build = WORDS[WORDS.index("--build") :]
    listed = cli("ablate", "discover", "--source", "model.py", "net.py", *build, "--json")
    repeated = cli(
        "ablate", "discover", "--source", "model.py", "--source", "net.py", *build, "--json"
    )
    assert (listed.code, listed.err) == (0, "")
    components = json.loads(listed.out)["components"]
    assert components == json.loads(repeated.out)["components"]
    assert any(item["span"].startswith("net.py:") for item in components)


def test_discover_leaves_the_folder_as_it_was(cli: Cli, home: Path, model: Path) -> None:
    before = contents(home)
    said = cli("ablate", "discover", *WORDS)
    assert said.code == 0
    assert "model.py:" in said.out
    assert contents(home) == before


def test_generate_certifies_what_it_writes(cli: Cli, home: Path, model: Path) -> None:
    said = cli("ablate", "generate", *WORDS, "--out", "out", "--workers", "2", "--json")
    assert (said.code, said.err) == (0, "")
    variants = json.loads(said.out)["variants"]
    assert {variant["component"] for variant in variants if variant["status"] == "certified"}
    assert {variant["status"] for variant in variants} <= {"certified", "refused"}
    assert all("substitute" in variant for variant in variants)
    for variant in variants:
        if variant["folder"]:
            certificate = home / "out" / variant["folder"] / "certificate.json"
            assert json.loads(certificate.read_text())["verdict"] == variant["status"]
    assert (home / "out/baseline/model.py").read_bytes() == model.read_bytes()


def test_generate_again_replaces_its_own_folder_only(cli: Cli, home: Path, model: Path) -> None:
    few = ("--kinds", "remove-branch", "--workers", "1")
    assert cli("ablate", "generate", *WORDS, "--out", "out", *few).code == 0
    (home / "out/notes").mkdir()
    (home / "out/notes/mine.txt").write_text("keep")
    assert cli("ablate", "generate", *WORDS, "--out", "out", *few).code == 0
    assert (home / "out/notes/mine.txt").read_text() == "keep"
    (home / "mine").mkdir()
    (home / "mine/thesis.tex").write_text("years of work")
    said = cli("ablate", "generate", *WORDS, "--out", "mine", *few)
    assert said.code == 2
    assert "mine is not empty and was not made by 'ablate generate'" in said.err
    assert (home / "mine/thesis.tex").read_text() == "years of work"


def test_the_next_lines_can_be_typed_as_they_are(cli: Cli, home: Path, model: Path) -> None:
    (home / "my study.toml").write_text(
        'source = ["model.py"]\nbuild = "model.py:build"\ninputs = "model.py:inputs"\n'
        'command = "python train.py"\n'
    )
    spec = ("--spec", "my study.toml")
    found = cli("ablate", "discover", *spec)
    assert "next: antifragile ablate generate --spec 'my study.toml' --out variants" in found.err
    few = ("--kinds", "remove-branch", "--workers", "1")
    made = cli("ablate", "generate", *spec, "--out", "my variants", *few)
    assert "next: antifragile ablate run 'my variants' --metric 'json:{out}" in made.err


def test_a_kind_is_checked_before_a_command_is_watched(cli: Cli, home: Path) -> None:
    command = ("--command", "sh -c 'touch started'")
    said = cli("ablate", "generate", *command, "--out", "out", "--kinds", "identty")
    assert said.code == 2
    assert said.err == "error: unknown kind of ablation 'identty'; did you mean 'identity'?\n"
    assert not (home / "started").exists()


def test_a_spec_file_says_the_same(cli: Cli, home: Path, model: Path) -> None:
    (home / "specs").mkdir()
    (home / "specs/ablate.toml").write_text(
        'source = ["../model.py"]\nbuild = "../model.py:build"\ninputs = "../model.py:inputs"\n'
        'kinds = ["identity"]\n'
    )
    by_spec = cli("ablate", "discover", "--spec", "specs/ablate.toml", "--json")
    assert by_spec.code == 0
    assert by_spec.out == cli("ablate", "discover", *WORDS, "--json").out


WRONG_MODEL = {
    "syntax": ("def forward(self, x):", "def forward(self x):", "invalid syntax"),
    "constructor": (
        "nn.Linear(8, 8)",
        "nn.Linear(-8, 8)",
        "the model does not run: build() of model.py raised RuntimeError: Trying to create tensor",
    ),
    "shape": (
        "torch.randn(4, 8)",
        "torch.randn(4, 9)",
        "the forward pass in evaluation mode raised RuntimeError: mat1 and mat2 shapes cannot be "
        "multiplied (4x9 and 8x8) (model.py, line 13).",
    ),
    "no inputs": (
        "(torch.randn(4, 8),)",
        "None",
        "inputs() of model.py must return a tensor, a tuple of inputs, a dictionary of keywords, "
        "or (args, kwargs); got None.",
    ),
    "not a model": (
        "return Model()",
        "return Model",
        "build() of model.py must return a torch.nn.Module; got a type.",
    ),
    "endless": (
        "return self.last(x)",
        "while True: pass",
        "the model does not run: the forward pass in evaluation mode did not end within 2 s.",
    ),
    "hungry": (
        "return self.last(x)",
        "held = []\n        while True: held.append(torch.ones(10**6))",
        "the forward pass in evaluation mode needed more than the memory limit of 0.25 GiB.",
    ),
    "hungry at once": (
        "return self.last(x)",
        "return torch.ones(2**40)",
        "the forward pass in evaluation mode needed more than the memory limit of 0.25 GiB.",
    ),
    "exits": (
        "return self.last(x)",
        "raise SystemExit(3)",
        "the forward pass in evaluation mode called sys.exit(3).",
    ),
    "crashes": (
        "return self.last(x)",
        "import ctypes; ctypes.string_at(0)",
        "the forward pass in evaluation mode crashed (SIGSEGV).",
    ),
    "missing import": (
        "import torch\n",
        "import torch, no_such_package\n",
        "importing model.py raised ModuleNotFoundError: No module named 'no_such_package'",
    ),
}


@pytest.mark.parametrize("case", WRONG_MODEL)
def test_a_wrong_model_is_one_sentence(cli: Cli, home: Path, model: Path, case: str) -> None:
    old, new, message = WRONG_MODEL[case]
    model.write_text(MODEL.replace(old, new, 1))
    before = contents(home)
    limits = ("--timeout", "2" if case == "endless" else "60", "--memory", "256MiB")
    said = cli("ablate", "generate", *WORDS, "--out", "out", *limits)
    assert said.code == 2
    assert said.out == ""
    assert message in " ".join(said.err.split())
    assert said.is_one_error()
    assert contents(home) == before


def test_a_model_that_is_not_deterministic_is_one_sentence(
    cli: Cli, home: Path, model: Path
) -> None:
    drawn = "int.from_bytes(__import__('os').urandom(4), 'big')"
    model.write_text(MODEL.replace("self.last(x)", f"self.last(x * {drawn})"))
    said = cli("ablate", "generate", *WORDS, "--out", "out")
    assert said.code == 2
    assert "not deterministic: with the same seed and weights, the output in evaluation" in said.err
    assert said.is_one_error()


WRONG_WORDS = [
    (WORDS[2:], "--source is missing; give it, or source = ... in a --spec file."),
    (WORDS[:4], "--inputs is missing"),
    (("--source", "none.py", *WORDS[2:]), "no such file: none.py"),
    ((*WORDS[:2], "--build", "model.py:biuld", *WORDS[4:]), "did you mean 'build'?"),
    ((*WORDS[:2], "--build", "model.py", *WORDS[4:]), "expects FILE.py:function"),
    ((*WORDS, "--memory", "lots"), "'lots' is not a memory size"),
    ((*WORDS, "--kinds", "identty"), "did you mean 'identity'?"),
    (("--spec", "none.toml"), "no spec at none.toml"),
    (("--spec", "model.py"), "model.py is not valid TOML"),
    (("--spec", "odd.toml"), "unknown key 'sources'; did you mean 'source'?"),
]


@pytest.mark.parametrize(("words", "message"), WRONG_WORDS)
def test_wrong_words_are_one_sentence(
    cli: Cli, home: Path, model: Path, words: tuple[str, ...], message: str
) -> None:
    (home / "odd.toml").write_text('sources = ["model.py"]\n')
    said = cli("ablate", "generate", *words, "--out", "out")
    assert said.code == 2
    assert message in said.err
    assert said.is_one_error()
    assert not (home / "out").exists()


def test_named_groups_and_templates_of_ones_own(cli: Cli, home: Path, model: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine/tanh.toml").write_text(
        '[[template]]\ncomponent = "functional"\nablation = "identity"\nmatch = ["tanh"]\n'
        'shapes = "same"\nreplacement = "{input} / 2"\n'
    )
    (home / "ablate.toml").write_text(
        'source = ["model.py"]\nbuild = "model.py:build"\ninputs = "model.py:inputs"\n'
        'templates = "mine"\n[groups]\nhalf = "x[0:4]"\n'
    )
    said = cli("ablate", "generate", "--spec", "ablate.toml", "--out", "out", "--json")
    assert (said.code, said.err) == (0, "")
    variants = {item["component"]: item for item in json.loads(said.out)["variants"]}
    assert variants["input:half"]["status"] == "certified"
    [changed] = (home / "out").glob("*tanh*--identity/change.diff")
    assert "+        x = x + self.first(x) / 2" in changed.read_text()


def test_templates_that_are_not_there_are_one_sentence(cli: Cli, model: Path) -> None:
    said = cli("ablate", "generate", *WORDS, "--out", "out", "--templates", "none")
    assert said.code == 2
    assert "no such folder of templates: none" in said.err
