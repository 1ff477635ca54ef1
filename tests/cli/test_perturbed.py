"""Perturbed update equations at the command line: studies, plans, single trials, wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import contents, write_spec
from tests.cli.conftest import Cli

AGN, RWP = "annealed_gradient_noise", "random_weight_perturbation"


def records(cli: Cli, store: str) -> list[dict[str, object]]:
    said = cli("study", "export", "--store", store, "--format", "json")
    return [{k: v for k, v in row.items() if k != "seconds"} for row in json.loads(said.out)]


def test_psa_and_perturbed_modes_meet_in_one_study(home: Path, cli: Cli) -> None:
    modes = ["none", "output", AGN, RWP, "sam"]
    write_spec(home / "s.toml", modes=modes)
    said = cli("study", "run", "s.toml", "--store", "s.db")
    assert said.code == 0, said.err
    rows = records(cli, "s.db")
    assert {row["mode"] for row in rows} == set(modes)
    kernels = {mode: {row["kernel"] for row in rows if row["mode"] == mode} for mode in modes}
    assert kernels[AGN] == kernels[RWP] == {"fleet torch"}
    assert kernels["sam"] == {"plain"}
    assert cli("study", "run", "s.toml", "--store", "s.db").code == 0
    assert records(cli, "s.db") == rows
    assert cli("report", "s.db", "--out", "page").code == 0
    for verb in (("classify", "s.db"), ("study", "summary", "--store", "s.db")):
        said = cli(*verb)
        assert said.code == 0
    left_out = cli("classify", "s.db", "--json").err
    assert left_out == (
        f"left out: {AGN}, {RWP}, sam; the rules know the six modes of the paper.\n"
    )


def test_adding_perturbed_modes_changes_no_record_of_the_others(home: Path, cli: Cli) -> None:
    write_spec(home / "few.toml", modes=["none", "output"])
    write_spec(home / "more.toml", modes=["none", "output", AGN])
    for name in ("few", "more"):
        assert cli("study", "run", f"{name}.toml", "--store", f"{name}.db").code == 0
    more = [row for row in records(cli, "more.db") if row["mode"] != AGN]
    assert more == records(cli, "few.db")


def test_a_study_goes_on_and_is_extended_with_the_same_bits(home: Path, cli: Cli) -> None:
    for name, loops in (("whole", 5), ("part", 2)):
        write_spec(home / f"{name}.toml", modes=[AGN, "sam"], meta_loops=loops)
        assert cli("study", "run", f"{name}.toml", "--store", f"{name}.db").code == 0
    assert cli("study", "extend", "--store", "part.db", "--meta-loops", 5).code == 0
    assert sorted(map(str, records(cli, "part.db"))) == sorted(map(str, records(cli, "whole.db")))


def test_an_option_is_part_of_the_study(home: Path, cli: Cli) -> None:
    for eta in (0.1, 0.2):
        training = {"learning_rate": 0.01, "perturb": [{"preset": AGN, "eta": eta}]}
        write_spec(home / f"{eta}.toml", training=training)
    assert cli("study", "run", "0.1.toml", "--store", "s.db").code == 0
    said = cli("study", "run", "0.2.toml", "--store", "s.db")
    assert said.code == 2
    assert "training.perturb" in said.err
    table = cli("table", "training", "s.db").out
    assert f"{AGN}(eta=0.1)" in table


def test_a_plan_says_what_falls_back_to_the_engine(home: Path, cli: Cli) -> None:
    write_spec(home / "s.toml", modes=["none", AGN, "sam"])
    rows = json.loads(cli("study", "plan", "s.toml", "--json").out)["rows"]
    found = {(row["architecture"], *row["modes"]): row["kernel"] for row in rows}
    assert found[("1*4", AGN)] == "torch"
    assert found[("1*4", "sam")] == "plain"
    assert len(found) == 6
    reason = next(row["reason"] for row in rows if row["kernel"] == "plain")
    assert "evaluates the gradient twice a step" in reason


@pytest.mark.parametrize(
    "how", [("--perturb", f"{AGN}:eta=0.5"), ("--mode", RWP), ("--perturb", RWP, "--mode", "sam")]
)
@pytest.mark.parametrize("engine", ["fleet", "plain"])
def test_one_trial_trains_and_goes_on(
    how: tuple[str, ...], engine: str, home: Path, cli: Cli
) -> None:
    train = ("train", "--dataset", "tiny", "--arch", "1*4", "--engine", engine, *how)
    assert cli(*train, "--meta-loops", 4, "--out", "whole").code == 0
    assert cli(*train, "--meta-loops", 2, "--out", "part").code == 0
    assert cli(*train, "--meta-loops", 4, "--out", "part", "--resume").code == 0
    whole, part = (json.loads((home / n / "lkg.json").read_text()) for n in ("whole", "part"))
    for story in (whole, part):
        for record in story["records"]:
            del record["seconds"]
    assert part["records"] == whole["records"]
    assert ("perturb" in whole["training"]) == ("--perturb" in how)


def test_a_trial_perturbed_otherwise_cannot_be_resumed(home: Path, cli: Cli) -> None:
    train = ("train", "--dataset", "tiny", "--arch", "1*4", "--meta-loops", 2, "--out", "t")
    assert cli(*train).code == 0
    said = cli(*train, "--resume", "--perturb", AGN)
    assert said.code == 2
    assert "training options differ" in said.err
    assert cli(*train, "--resume", "--mode", AGN).code == 0  # a mode is another segment


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--perturb", "agn"), "preset 'agn' is unknown"),
        (("--perturb", f"{AGN}:eta=-1"), "eta must be a number of at least 0; got -1"),
        (("--perturb", f"{AGN}:eta"), "write NAME:option=number"),
        (("--perturb", AGN, "--perturb", AGN), f"perturb lists '{AGN}' 2 times"),
        (("--perturb", AGN, "--mode", AGN), "drop one of the two"),
        (("--perturb", "sam", "--mode", "asam"), "of which a step can have one"),
        (("--mode", "annealed_gradient_nois"), f"did you mean '{AGN}'?"),
        (("--mode", "sam", "--precision", "bf16"), "Use --precision fp32"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(
    arguments: tuple[str, ...], message: str, home: Path, cli: Cli
) -> None:
    before = contents(home)
    said = cli("train", "--dataset", "tiny", "--arch", "1*4", *arguments)
    assert said.code == 2
    assert said.is_one_error()
    assert message in said.err
    assert contents(home) == before
