"""``antifragile perturb``: the list, an experiment with its files, and wrong input."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.perturbation.experiments import EXPERIMENTS

from antifragile.optim import PRESETS
from tests.cli.conftest import Cli


def test_the_list_names_every_preset_and_experiment(cli: Cli) -> None:
    said = cli("perturb", "list")
    assert said.code == 0
    for name in (*PRESETS, *EXPERIMENTS):
        assert name in said.out
    listed = json.loads(cli("perturb", "list", "--json").out)
    assert set(listed["presets"]) == set(PRESETS)
    assert set(listed["experiments"]) == set(EXPERIMENTS)
    assert all(listed["presets"].values())


def test_an_experiment_prints_a_table_and_writes_its_files(cli: Cli, home: Path) -> None:
    said = cli("perturb", "bench", "posterior", "--quick", "--out", "found")
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
    again = cli("perturb", "bench", "posterior", "--quick", "--out", "found", "--json")
    assert "1/1" not in again.err  # the part was there
    document = json.loads(again.out)
    assert document["name"] == "posterior"
    assert document["rows"][0]["covariance_error"] < 0.05
    assert document["gradient_evaluations"] == 700_000


def test_wrong_input_gets_one_sentence_and_code_2(cli: Cli, home: Path) -> None:
    for words, reason in (
        (("bench", "posteriour"), "did you mean 'posterior'?"),
        (("bench", "posterior", "--seeds", "0"), "needs 1 to 1000 seeds; got 0"),
        (("bench", "posterior", "--workers", "0"), "needs a worker or more; got 0"),
        (("bench",), "missing argument"),
    ):
        said = cli("perturb", *words)
        assert said.code == 2
        assert said.is_one_error()
        assert reason in said.err
    assert list(home.iterdir()) == []


def test_an_experiment_without_its_data_says_so(cli: Cli) -> None:
    said = cli("perturb", "bench", "deep-mnist", "--quick")
    assert said.code != 0
    assert said.is_one_error()
    assert "mnist" in said.err.lower()


def test_a_folder_that_is_a_file_is_refused_before_any_work(cli: Cli, home: Path) -> None:
    (home / "found").write_text("mine")
    said = cli("perturb", "bench", "posterior", "--quick", "--out", "found")
    assert said.code == 2
    assert said.is_one_error()
    assert (home / "found").read_text() == "mine"
