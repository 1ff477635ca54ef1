"""Stores, checkpoints and ablation sets of version 0.1 are read, and go on."""

from __future__ import annotations

import csv
import io
import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import antifragile
from antifragile.optim import presets
from tests.cli.commands import Said, contents, run_here

STORED = Path(__file__).parents[1] / "fixtures" / "stored_by_0_1"
STORE = ("--store", "store.sqlite")
RUN = ("--experiment", "experiment.py:run", "--seeds", "2")
PAIR = ("--only", "net-act--identity", "--only", "net-branch--identity", "--design", "pairwise")
HERE = "--mix-machines"  # whatever machine this is
Row = dict[str, str]
Cli = Callable[..., Said]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A copy of all that 0.1 wrote."""
    shutil.copytree(STORED, tmp_path / "stored")
    return tmp_path / "stored"


@pytest.fixture
def cli(stored: Path) -> Cli:
    """Run a command line there; it must succeed."""

    def call(*words: str) -> Said:
        said = run_here(stored, *words)
        assert said.code == 0, said.err
        return said

    return call


def rows(text: str) -> list[Row]:
    return list(csv.DictReader(io.StringIO(text)))


def then(name: str) -> list[Row]:
    """The records of a study as 0.1 exported them."""
    return rows((STORED / f"{name}.csv").read_text())


def now(cli: Cli, name: str) -> list[Row]:
    """The records of a study, in the columns that 0.1 had."""
    found = rows(cli("study", "export", *STORE, "--study", name).out)
    columns = then(name)[0].keys()
    return [{key: row[key] for key in columns} for row in found]


@pytest.mark.parametrize("name", ["whole", "half"])
def test_every_record_is_read_as_it_was_written(cli: Cli, name: str) -> None:
    assert now(cli, name) == then(name)


def test_verbs_that_read_answer_from_it(cli: Cli, stored: Path) -> None:
    found = json.loads(cli("study", "status", *STORE, "--json").out)
    text = json.dumps(found)
    assert '"whole"' in text
    assert '"half"' in text
    words = ("--study", "whole")
    peaks = cli("study", "summary", *STORE, *words).out
    assert "1*4           none    2  43.75  12.50" in peaks
    assert "1*4" in cli("classify", "store.sqlite", *words).out
    assert "1*4" in cli("compare-modes", "store.sqlite", *words).out
    assert "1*4" in cli("table", "V", "store.sqlite", *words).out
    cli("report", "store.sqlite", *words, "--out", "page")
    assert any("1*4" in path.read_text() for path in (stored / "page").glob("*.html"))


def test_reading_changes_no_kept_state(cli: Cli, stored: Path) -> None:
    before = contents(STORED / "store.sqlite.files")
    cli("study", "status", *STORE)
    after = contents(stored / "store.sqlite.files")
    assert before.items() <= after.items()


@pytest.mark.parametrize("engine", ["fleet", "plain"])
def test_a_finished_study_is_not_run_again(cli: Cli, engine: str) -> None:
    said = cli("study", "run", "whole.toml", *STORE, "--engine", engine, HERE)
    assert "0 trials run" in said.out
    assert now(cli, "whole") == then("whole")


def test_a_finished_study_is_extended_from_its_kept_states(cli: Cli) -> None:
    cli("study", "extend", *STORE, "--study", "whole", "--meta-loops", "5", "--trials", "3", HERE)
    found = now(cli, "whole")
    assert len(found) == 2 * 3 * 5
    assert all(row in found for row in then("whole"))
    [counts] = [s for s in status(cli) if s["study"] == "whole"]
    assert counts["finished"] == 6


def status(cli: Cli) -> list[dict[str, Any]]:
    found: Any = json.loads(cli("study", "status", *STORE, "--json").out)
    return list(found if isinstance(found, list) else found["studies"])


def test_a_killed_study_goes_on_from_its_checkpoint(cli: Cli) -> None:
    words = ("--engine", "plain", "--workers", "1", HERE)
    said = cli("study", "run", "half.toml", *STORE, *words)
    assert "3 trials run" in said.out
    found = now(cli, "half")
    assert len(found) == 4 * 40
    assert all(row in found for row in then("half"))  # seconds included: no meta-loop ran twice
    assert "0 trials run" in cli("study", "run", "half.toml", *STORE, *words).out


def test_under_other_conditions_it_is_refused_and_stays(stored: Path) -> None:
    said = run_here(stored, "study", "run", "half.toml", *STORE, "--precision", "bf16")
    assert said.code == 2
    assert said.is_one_error()
    assert HERE in said.err
    assert now_of(stored, "half") == then("half")


def now_of(stored: Path, name: str) -> list[Row]:
    return now(lambda *words: run_here(stored, *words), name)


def test_a_trained_network_is_trained_on(cli: Cli, stored: Path) -> None:
    before = json.loads((STORED / "trained" / "lkg.json").read_text())
    words = ("--dataset", "tiny", "--arch", "1*4", "--out", "trained", "--resume")
    said = cli("train", *words, "--meta-loops", "5")
    assert "of 5, final" in said.out
    after = json.loads((stored / "trained" / "lkg.json").read_text())
    assert len(before["records"]) == 3
    assert len(after["records"]) == 5
    assert after["records"][:3] == before["records"]


def test_a_set_of_variants_is_read_run_and_reported(cli: Cli, stored: Path) -> None:
    from_store = cli("ablate", "report", "store.sqlite", "--study", "ablation")
    from_folder = cli("ablate", "report", "variants", "--study", "ablation")
    assert "Net.branch" in from_store.out
    assert from_store.out == from_folder.out
    said = cli("ablate", "run", "variants", *RUN, "--protocol", "both", *STORE)
    n_run, n_found = counts(said.out)
    assert n_run + n_found == 28
    assert n_run in (0, 28)  # all are found where the machine is of the same kind
    again = cli("ablate", "run", "variants", *RUN, "--protocol", "both", *STORE)
    assert counts(again.out) == (0, 28)


def counts(text: str) -> tuple[int, int]:
    """Runs, and runs found, of the last line of `ablate run`."""
    words = text.splitlines()[-1].split()
    return int(words[0]), int(words[words.index("found") - 1])


def test_its_combination_is_not_certified_again(cli: Cli, stored: Path) -> None:
    before = contents(STORED / "variants" / "combinations")
    cli("ablate", "run", "variants", *RUN, *PAIR, "--name", "pairs", *STORE)
    assert contents(stored / "variants" / "combinations") == before


def test_its_manifest_is_repeated(cli: Cli) -> None:
    said = cli("ablate", "run", "variants", "--manifest", "variants/manifest.json", *STORE)
    assert "of 28 runs give the manifest's numbers" in said.out


def test_an_edited_variant_of_it_is_refused_by_name(stored: Path) -> None:
    model = stored / "variants" / "net-act--identity" / "model.py"
    model.write_text(model.read_text().replace("self.act(", "self.act(0 * "))
    said = run_here(stored, "ablate", "run", "variants", *RUN, *STORE)
    assert said.code == 2
    assert "net-act--identity: model.py was changed after it was certified" in said.err


def test_its_variants_are_generated_again(cli: Cli, stored: Path) -> None:
    (stored / "variants" / "mynotes").mkdir()
    model = ("--source", "model.py", "--build", "model.py:build", "--inputs", "model.py:inputs")
    kinds = ("--kinds", "identity,remove-branch")
    cli("ablate", "generate", *model, *kinds, "--out", "variants", "--workers", "1")
    assert (stored / "variants" / "mynotes").is_dir()
    for path in (STORED / "variants").glob("*--*/model.py"):
        ours = stored / path.relative_to(STORED)
        assert ours.read_bytes() == path.read_bytes()


def test_a_perturbed_run_goes_on_where_it_stopped() -> None:
    saved = torch.load(STORED / "perturbed.pt", weights_only=True)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    antifragile.perturb(optimizer, presets.random_weight_perturbation(), model=model, seed=3)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    steps: Callable[..., None] = runpy.run_path(str(STORED / "make.py"))["steps"]
    steps(model, optimizer, range(5, 10))
    torch.testing.assert_close(model.state_dict(), saved["after five more steps"])
