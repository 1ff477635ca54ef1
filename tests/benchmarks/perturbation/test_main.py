"""``python -m benchmarks.perturbation``: the list, an experiment with its files, wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.perturbation.__main__ import run
from benchmarks.perturbation.experiments.registry import EXPERIMENTS
from tests.cli.commands import environment, run_here


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty folder to work in, for a user without data who cannot download."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.delenv("ANTIFRAGILE_DATA", raising=False)
    for key, value in environment(tmp_path / "user").items():
        monkeypatch.setenv(key, value)
    return folder


def test_without_a_name_the_experiments_are_listed(home: Path) -> None:
    said = run_here(home, program=run)
    assert said.code == 0
    for name in EXPERIMENTS:
        assert name in said.out
    listed = json.loads(run_here(home, "--json", program=run).out)
    assert set(listed) == set(EXPERIMENTS)


def test_an_experiment_prints_a_table_and_writes_its_files(home: Path) -> None:
    said = run_here(home, "posterior", "--quick", "--out", "found", program=run)
    assert said.code == 0
    assert "covariance error" in said.out
    assert "gradient evaluations" in said.out
    assert "posterior 1/1: SGLD, step 0.2" in said.err
    names = {path.name for path in (home / "found").iterdir()}
    assert names == {
        "posterior-parts",
        "posterior-rows.csv",
        "posterior-runs.csv",
        "posterior.md",
        "posterior.png",
    }
    assert (home / "found" / "posterior.png").read_bytes().startswith(b"\x89PNG")
    again = run_here(home, "posterior", "--quick", "--out", "found", "--json", program=run)
    assert "1/1" not in again.err  # the part was there
    document = json.loads(again.out)
    assert document["name"] == "posterior"
    assert document["rows"][0]["covariance_error"] < 0.05
    assert document["gradient_evaluations"] == 700_000


def test_wrong_input_gets_one_sentence_and_code_2(home: Path) -> None:
    for words, reason in (
        (("posteriour",), "did you mean 'posterior'?"),
        (("posterior", "--seeds", "0"), "needs 1 to 1000 seeds; got 0"),
        (("posterior", "--workers", "0"), "needs a worker or more; got 0"),
    ):
        said = run_here(home, *words, program=run)
        assert said.code == 2
        assert said.is_one_error()
        assert reason in said.err
    assert list(home.iterdir()) == []


def test_an_experiment_without_its_data_says_so(home: Path) -> None:
    said = run_here(home, "deep-mnist", "--quick", program=run)
    assert said.code != 0
    assert said.is_one_error()
    assert "mnist" in said.err.lower()


def test_a_folder_that_is_a_file_is_refused_before_any_work(home: Path) -> None:
    (home / "found").write_text("mine")
    said = run_here(home, "posterior", "--quick", "--out", "found", program=run)
    assert said.code == 2
    assert said.is_one_error()
    assert (home / "found").read_text() == "mine"
