"""Repositories that nobody prepared: the command is typed, nothing of theirs is changed.

What is typed for each is listed in `typed`.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from antifragile.ablate.command.command import Command
from antifragile.ablate.command.preview import watch_model
from antifragile.ablate.sandbox.job import Limits
from antifragile.errors import UsageError
from tests.ablate.command.launching import PYTHON
from tests.ablate.command.typed import REPOSITORIES, TYPED
from tests.cli.conftest import Cli
from tests.required_here import not_here

WHOLE = ("package", "one_file", "hydra", "torchrun", "notebook")  # others certify for minutes


def copied(name: str, home: Path) -> Path:
    """Copy a repository, and return the folder where its command is typed."""
    for package in TYPED[name].packages:
        if importlib.util.find_spec(package) is None:
            not_here(f"needs {package}")
    shutil.copytree(REPOSITORIES / name, home / name)
    (home / name / ".git").mkdir()
    return home / name / TYPED[name].folder


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPED)
def test_a_command_says_what_it_trains(
    name: str, cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed, place = TYPED[name], copied(name, home)
    monkeypatch.chdir(place)
    before = {p: p.read_bytes() for p in (home / name).rglob("*") if p.is_file()}
    said = cli("ablate", "discover", "--command", typed.line, "--json")
    assert said.code == 0, said.err
    words = " ".join(said.err.split())
    assert f"the command trains {typed.model}, " in words
    assert all(source in words for source in typed.source)
    found = json.loads(said.out)["components"]
    assert sum(item["ran"] for item in found) >= 7
    assert {p: p.read_bytes() for p in (home / name).rglob("*") if p.is_file()} == before


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", WHOLE)
def test_a_command_is_all_that_is_typed(
    name: str, cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed, place = TYPED[name], copied(name, home)
    monkeypatch.chdir(place)
    before = {p: p.read_bytes() for p in (home / name).rglob("*") if p.is_file()}
    names = {p.name for p in place.iterdir()}
    command = ("--command", typed.line)
    said = cli("ablate", "discover", *command, "--spec", "study.toml")
    assert said.code == 0, said.err
    made = cli("ablate", "generate", "--spec", "study.toml", "--out", "v", "--kinds", typed.kinds)
    assert made.code == 0, made.err
    only = [word for arm in typed.arms for word in ("--only", arm)]
    study = ("v", "--metric", typed.metric, "--seeds", "2", *only, *typed.options)
    ran = cli("ablate", "run", *study)
    assert ran.code == 0, ran.err
    assert "baseline run twice under 2 seeds: identical" in " ".join(ran.out.split())
    assert "not paired" not in ran.err
    runs = json.loads((Path("v") / "manifest.json").read_text())["runs"]
    values = {
        (tuple(run["ablated"]), run["seed"], run["role"]): next(iter(run["metrics"].values()))
        for run in runs
    }
    for seed in (1, 2):
        baseline = values[(), seed, "run"]
        assert any(values[(arm,), seed, "run"] != baseline for arm in typed.arms)
    assert values[(), 1, "run"] != values[(), 2, "run"]
    assert cli("ablate", "run", *study).out.rstrip().splitlines()[-1].startswith("0 runs, 10 found")
    assert {p: p.read_bytes() for p in before} == before
    new = {p.name for p in place.iterdir()} - names
    assert new <= {"v", "study.toml", "study_entry.py", "study_entry.safetensors"}


def test_a_preview_says_what_is_trained_and_writes_how_it_is_built(tmp_path: Path) -> None:
    place = copied("one_file", tmp_path)
    command = Command.read(f"{PYTHON} experiment.py --seed {{seed}}", folder=place)
    entry = tmp_path / "built.py"
    found = watch_model(command, entry, steps=3, limits=Limits(timeout_s=120))
    assert found.seen.model == "__main__.Model"
    assert found.seen.parameters == 435
    assert len(found.seen.seconds) == 3
    assert found.source == (place / "experiment.py",)
    text = entry.read_text()
    assert "SCRIPT: str = 'one_file/experiment.py'" in text
    assert "WORDS: list[str] = ['--seed', '1']" in text
    assert (tmp_path / "built.safetensors").is_file()
    assert not (place / "last.pt").exists()
    trains_nothing = Command.read(f"{PYTHON} -c pass", folder=place)
    with pytest.raises(UsageError, match="ended without a training step"):  # it may be replaced
        watch_model(trains_nothing, entry, steps=1, limits=Limits(timeout_s=60))
    edited = text.replace("VARIABLES: dict[str, str] = {}", "VARIABLES: dict[str, str] = {'A': ''}")
    entry.write_text(edited)
    with pytest.raises(UsageError, match=r"built\.py was edited, .* use it by --build .*:build"):
        watch_model(trains_nothing, entry, steps=1, limits=Limits(timeout_s=60))
    assert entry.read_text() == edited


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (
            "raise SystemExit('no data')\n",
            "be watched: the command ended with exit code 1: no data",
        ),
        ("print('nothing')\n", "cannot be watched: it ended without a training step"),
    ],
)
def test_a_command_that_trains_nothing_is_a_sentence(
    script: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text(script)
    command = Command.read(f"{PYTHON} train.py", folder=tmp_path / "code")
    with pytest.raises(UsageError) as refused:
        watch_model(command, tmp_path / "built.py", steps=1, limits=Limits(timeout_s=60))
    assert sentence in str(refused.value)
    assert not (tmp_path / "built.py").exists()
