"""``antifragile ablate generate`` into a folder that holds a set and the user's own work."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from antifragile.ablate.generation.locks import locked
from antifragile.ablate.study.folder import read_ablation_folder
from tests.cli.commands import Said, contents, start
from tests.cli.conftest import Cli

MODEL = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(8, 8)
        self.act = nn.Tanh()
        self.out = nn.Linear(8, 4)

    def forward(self, x):
        return self.out(self.act(self.inp(x)))


def build():
    return Net()


def inputs():
    return (torch.randn(4, 8),)
"""
WORDS = (
    *("ablate", "generate", "--source", "model.py", "--build", "model.py:build"),
    *("--inputs", "model.py:inputs", "--out", "v", "--kinds", "identity", "--workers", "1"),
)
EDITED = "v/net-act--identity/model.py"


@pytest.fixture
def variants(cli: Cli, home: Path) -> Path:
    """A generated set with a folder of the user's in it."""
    (home / "model.py").write_text(MODEL)
    assert cli(*WORDS).code == 0
    (home / "v" / "mynotes").mkdir()
    (home / "v" / "mynotes" / "x.txt").write_text("keep")
    return home / "v"


def is_refusal(said: Said, sentence: str) -> bool:
    return said.code == 2 and said.is_one_error() and sentence in said.err


def test_the_users_folder_stays(cli: Cli, variants: Path) -> None:
    place = (variants / "mynotes").stat().st_ino
    assert cli(*WORDS).code == 0
    assert (variants / "mynotes" / "x.txt").read_text() == "keep"
    assert (variants / "mynotes").stat().st_ino == place


def test_an_edited_variant_is_neither_trained_nor_removed(cli: Cli, variants: Path) -> None:
    path = variants.parent / EDITED
    path.write_text(path.read_text().replace("self.act(", "self.act(0*"))
    before = contents(variants)
    trained = cli("ablate", "run", "v", "--dataset", "digits", "--seeds", "2")
    assert is_refusal(trained, "net-act--identity: model.py was changed after it was certified")
    assert is_refusal(cli(*WORDS), f"{EDITED} was changed or added after its folder was generated")
    assert contents(variants) == before
    path.parent.rename(variants / "mine")
    assert cli(*WORDS).code == 0
    assert "self.act(0*" in (variants / "mine" / "model.py").read_text()
    assert "self.act(0*" not in path.read_text()


def test_variants_of_a_command_and_files_beside_them_stay(cli: Cli, home: Path) -> None:
    """As ``discover --command`` leaves them: a spec, and a file of functions that may be edited."""
    (home / "model.py").write_text(MODEL)
    functions = f"import torch\n\n\n{MODEL[MODEL.index('def build') :]}"
    (home / "study_entry.py").write_text(f"# edited by hand\nfrom model import Net\n{functions}")
    command = f"{sys.executable} train.py {{seed}} {{out}}"
    (home / "study.toml").write_text(
        f'command = "{command}"\nsource = ["model.py"]\nkinds = ["identity"]\n'
        'build = "study_entry.py:build"\ninputs = "study_entry.py:inputs"\n'
    )
    words = ("ablate", "generate", "--spec", "study.toml", "--out", "v", "--workers", "1")
    made = cli(*words)
    assert made.code == 0, made.err
    assert json.loads((home / "v" / "ablations.json").read_text())["command"] == command
    path = home / EDITED
    path.write_text(path.read_text().replace("self.inp(x)", "0 * self.inp(x)"))
    before = contents(home)
    trained = cli("ablate", "run", "v", "--metric", "json:{out}/m.json:loss")
    assert is_refusal(trained, "net-act--identity: model.py was changed after it was certified")
    assert is_refusal(cli(*words), f"{EDITED} was changed or added after its folder was generated")
    assert contents(home) == before
    path.parent.rename(home / "v" / "mine")
    assert cli(*words).code == 0
    assert "0 * self.inp(x)" in (home / "v" / "mine" / "model.py").read_text()
    after = contents(home)
    assert all(after[name] == before[name] for name in ("study.toml", "study_entry.py"))


def test_a_name_that_is_taken_is_refused(cli: Cli, home: Path, variants: Path) -> None:
    (home / "model.py").write_text(MODEL.replace("self.act", "self.nonlinear"))
    (variants / "net-nonlinear--identity").mkdir()
    before = contents(variants)
    assert is_refusal(cli(*WORDS), "v/net-nonlinear--identity is in the way of a variant's folder")
    assert contents(variants) == before


def test_a_second_one_at_once_is_refused(cli: Cli, variants: Path) -> None:
    with locked(variants, "generate"):
        said = cli(*WORDS)
    assert is_refusal(said, "another 'ablate generate' is writing to v; wait for it, or")


def test_a_wrong_model_leaves_the_set(cli: Cli, home: Path, variants: Path) -> None:
    before = contents(variants)
    (home / "model.py").write_text(MODEL.replace("return Net()", "raise RuntimeError('no')"))
    assert cli(*WORDS).code == 2
    assert contents(variants) == before


@pytest.mark.slow
def test_killed_at_any_moment_the_old_set_or_the_new_one_is_there(
    cli: Cli, home: Path, variants: Path
) -> None:
    old = read_ablation_folder(variants).digests
    (home / "model.py").write_text(MODEL.replace("Tanh", "Sigmoid"))
    for moment in (1.0, 1.5, 2.0, 2.5, 3.0, 3.5):
        process = start(home, *WORDS)
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        found = read_ablation_folder(variants).digests
        is_new = found.keys() == old.keys() and found != old
        assert is_new or found == old
        assert (variants / "mynotes" / "x.txt").read_text() == "keep"
    assert cli(*WORDS).code == 0
    new = read_ablation_folder(variants).digests
    assert new.keys() == old.keys()
    assert new != old
    assert sorted(path.name for path in (variants / ".ablations").iterdir()) == ["generate.lock"]
