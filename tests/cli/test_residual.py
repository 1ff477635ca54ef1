"""Residual networks at the command line: studies, single trials, reports, wrong input."""

from __future__ import annotations

import json
from pathlib import Path

from antifragile.analysis.source import network_of, open_source
from antifragile.config.networks import Network
from antifragile.report.survey import survey
from tests.cli.commands import write_spec
from tests.cli.conftest import Cli

MODES = ["none", "decay", "dropout", "full", "hidden", "output", "channel", "author-hidden"]
TRAINING = {"learning_rate": 0.01, "batch_size": 8}
RESIDUAL = TRAINING | {"network": "resmlp"}


def records(cli: Cli, store: str) -> list[dict[str, object]]:
    rows = json.loads(cli("study", "export", "--store", store, "--format", "json").out)
    return [{k: v for k, v in row.items() if k not in ("seconds", "train_loss")} for row in rows]


def without_kernel(rows: list[dict[str, object]]) -> list[str]:
    return sorted(str({k: v for k, v in row.items() if k != "kernel"}) for row in rows)


def test_a_study_of_the_authors_preset_is_trained_by_the_compiled_fleet_as_by_the_engine(
    home: Path, cli: Cli
) -> None:
    changes = {"preset": "author-resmlp", "modes": MODES, "evaluate": {"harm": True}}
    write_spec(home / "s.toml", training=TRAINING, **changes)
    for engine in ("fleet", "plain"):
        said = cli("study", "run", "s.toml", "--store", f"{engine}.db", "--engine", engine)
        assert said.code == 0, said.err
    fleet, plain = records(cli, "fleet.db"), records(cli, "plain.db")
    assert {row["mode"] for row in fleet} == set(MODES)
    assert {row["kernel"] for row in plain} == {"plain"}
    assert all(str(row["kernel"]).startswith("fleet") for row in fleet)
    assert without_kernel(fleet) == without_kernel(plain)
    assert cli("study", "check", "fleet.db").code == 0


def test_it_goes_on_and_is_extended_with_the_same_bits(home: Path, cli: Cli) -> None:
    for name, loops in (("whole", 5), ("part", 2)):
        write_spec(home / f"{name}.toml", modes=MODES, training=RESIDUAL, meta_loops=loops)
        assert cli("study", "run", f"{name}.toml", "--store", f"{name}.db").code == 0
    assert cli("study", "extend", "--store", "part.db", "--meta-loops", 5).code == 0
    assert sorted(map(str, records(cli, "part.db"))) == sorted(map(str, records(cli, "whole.db")))


def test_its_parameters_are_those_of_the_network(home: Path, cli: Cli) -> None:
    counts = {}
    for network in Network:
        training = TRAINING | {"network": str(network)}
        write_spec(home / "s.toml", training=training, architectures=["2*2"])
        assert cli("study", "run", "s.toml", "--store", f"{network}.db").code == 0
        source = open_source(f"{network}.db")
        assert network_of(source) is network
        (counts[network],) = survey(source).landscape["parameters"]
    assert counts[Network.RESMLP] - counts[Network.MLP] == 3 * (2 * 2 + 2)
    said = cli("report", "resmlp.db", "--out", "page")
    assert said.code == 0
    page = next((home / "page").glob("*.html")).read_text()
    assert "resmlp" in page
    assert "resmlp" in cli("table", "training", "resmlp.db").out
    assert "network" not in cli("table", "training", "mlp.db").out


def test_a_single_trial_goes_on_in_another_mode(home: Path, cli: Cli) -> None:
    train = ("train", "--dataset", "tiny", "--arch", "[2*3, 1*2]", "--preset", "author-resmlp")
    assert cli(*train, "--mode", "channel", "--meta-loops", 3).code == 0
    (folder,) = (home / "outputs").iterdir()
    assert folder.name.startswith("tiny-resmlp-")
    said = cli(*train, "--mode", "author-hidden", "--meta-loops", 2, "--resume")
    assert said.code == 0, said.err
    story = json.loads((folder / "lkg.json").read_text())
    assert [segment["mode"] for segment in story["segments"]] == ["channel", "author-hidden"]
    assert story["training"]["block_dropout"] == 0.1
    other = cli(*train[:5], "--resume", "--out", folder)
    assert other.code == 2
    assert "belongs to another trial" in other.err


def test_normalised_blocks_are_trained_by_the_readable_engine(home: Path, cli: Cli) -> None:
    write_spec(home / "s.toml", training=RESIDUAL | {"block_norm": "layer"})
    plan = json.loads(cli("study", "plan", "s.toml", "--json").out)
    assert {row["kernel"] for row in plan["rows"]} == {"plain"}
    assert "no kernel has block_norm layer" in plan["rows"][0]["reason"]
    assert cli("study", "run", "s.toml", "--store", "s.db").code == 0
    assert {row["kernel"] for row in records(cli, "s.db")} == {"plain"}
    said = cli("study", "plan", "s.toml", "--precision", "bf16")
    assert said.code == 2
    assert said.is_one_error()


def test_its_speed_is_measured(cli: Cli) -> None:
    said = cli("bench", "--dataset", "tiny", "--arch", "2*2", "--network", "resmlp", "--json")
    document = json.loads(said.out)
    assert document["network"] == "resmlp"
    assert document["rows"][0]["seconds"] > 0


def test_what_cannot_be_is_refused_in_a_sentence(home: Path, cli: Cli) -> None:
    write_spec(home / "mlp.toml", modes=["none", "channel"])
    for arguments, words in (
        (("study", "run", "mlp.toml", "--store", "s.db"), "mode 'channel' ablates residual"),
        (("train", "--dataset", "tiny", "--mode", "author-hidden"), "which network 'mlp' has not"),
        (("train", "--dataset", "tiny", "--network", "resnet"), "network 'resnet' is unknown"),
        (("train", "--dataset", "tiny", "--block-dropout", 0.1), "block_dropout acts inside"),
        (("train", "--dataset", "tiny", "--initialisation", "x"), "initialisation 'x' is unknown"),
    ):
        said = cli(*arguments)
        assert said.code == 2
        assert said.is_one_error()
        assert words in said.err
    assert not (home / "s.db").exists()
