"""The verbs on good input."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.commands import PROGRAM, contents, environment, run_process, write_spec
from tests.cli.conftest import Cli

VERBS = (
    *("", "landscape", "train", "data", "data info", "data list", "study", "study run"),
    *("study plan", "study extend", "study status", "study summary", "study export"),
)
N_TRIALS, N_RECORDS = 8, 24  # of the spec that `write_spec` writes


@pytest.fixture
def studied(home: Path, cli: Cli) -> Path:
    """A folder with a finished study of two trials of four cells in runs.db."""
    write_spec(home / "s.toml")
    assert cli("study", "run", "s.toml", "--store", "runs.db").code == 0
    return home


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, cli: Cli) -> None:
    said = cli(*verb.split(), "--help")
    assert (said.code, said.err) == (0, "")
    assert f"Usage: {' '.join(['antifragile', *verb.split()])} " in said.out


def test_version(cli: Cli) -> None:
    assert cli("--version").out == "0.1.0\n"


@pytest.mark.parametrize(
    "code",
    [
        "import antifragile",
        "from antifragile.cli.main import run; assert run(['--help']) == 0",
        "from antifragile.cli.main import run; assert run(['study', 'run', '--help']) == 0",
        "import antifragile.cli.ablate.generate",  # children import torch, once
    ],
)
def test_help_and_import_wait_for_nothing_heavy(code: str) -> None:
    heavy = "import sys; print([m for m in ('torch', 'pandas', 'sklearn') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {heavy}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


# landscape


def test_the_landscape_is_the_papers(paper_trials: Path, cli: Cli) -> None:
    listed = json.loads(cli("landscape", "--json").out)
    with paper_trials.open() as file:
        papers = dict.fromkeys(row["architecture"] for row in csv.DictReader(file))
    assert {name(entry["architecture"]) for entry in listed} == {name(text) for text in papers}
    assert len(listed) == len(papers) == 98


def test_the_landscape_counts_parameters_by_equation_1(cli: Cli) -> None:
    listed = json.loads(cli("landscape", "--json").out)
    assert all(set(entry) == {"architecture", "parameters", "matched"} for entry in listed)
    for entry in listed:
        layers, width = map(int, entry["architecture"].split("*"))
        expected = width * 785 + (layers - 1) * width * (width + 1) + 10 * (width + 1)
        assert entry["parameters"] == expected
    assert sum(entry["matched"] for entry in listed) == 40


def name(text: str) -> str:
    return text.strip("[]").replace(" ", "")


def test_the_landscape_as_a_table(cli: Cli) -> None:
    said = cli("landscape")
    assert said.err == ""
    assert len(said.out.splitlines()) == 100
    assert "1*2048         1,628,170  Matched" in said.out


def test_matching_shows_the_widths_of_equation_2(cli: Cli) -> None:
    rows = json.loads(cli("landscape", "--matching", "--json").out)
    assert len(rows) == 19
    by_name = {row["architecture"]: row for row in rows}
    assert by_name["2*939"]["matched_to"] == "1*2048"
    assert round(by_name["2*214"]["equation_width"]) == 204
    assert "4*632" in cli("landscape", "--matching").out


# studies


def test_a_study_from_start_to_export(studied: Path, cli: Cli) -> None:
    done = json.loads(cli("study", "run", "s.toml", "--store", "runs.db", "--json").out)
    assert (done["study"], done["trials"], done["trials_run"]) == ("small", N_TRIALS, 0)
    assert [cell["n"] for cell in done["cells"]] == [2, 2, 2, 2]
    status = json.loads(cli("study", "status", "--store", "runs.db", "--json").out)
    assert [(row["study"], row["finished"], row["pending"]) for row in status] == [("small", 8, 0)]
    assert "small" in cli("study", "status", "--store", "runs.db").out
    for measure in ("peak", "final", "test"):
        options = ("--store", "runs.db", "--measure", measure)
        cells = json.loads(cli("study", "summary", *options, "--json").out)
        assert [(cell["architecture"], cell["mode"]) for cell in cells] == [
            ("1*4", "none"),
            ("1*4", "output"),
            ("2*2", "none"),
            ("2*2", "output"),
        ]
        assert all(0 <= cell["min"] <= cell["mean"] <= cell["max"] <= 100 for cell in cells)
    assert "2*2" in cli("study", "summary", "--store", "runs.db").out


def test_a_study_as_a_table_names_its_store(home: Path, cli: Cli) -> None:
    write_spec(home / "s.toml", modes=["none", "decay"], training={"batch_size": 8})
    said = cli("study", "run", "s.toml", "--store", "deep/er/runs.db")
    assert said.code == 0
    assert "8 trials run in" in said.out
    assert "placebo" in said.out
    assert (home / "deep" / "er" / "runs.db").is_file()


def test_a_plan_writes_nothing(home: Path, cli: Cli) -> None:
    write_spec(home / "s.toml")
    before = contents(home)
    plan = json.loads(cli("study", "plan", "s.toml", "--json").out)
    assert sum(row["trials"] for row in plan["rows"]) == N_TRIALS
    assert cli("study", "plan", "s.toml").code == 0
    assert contents(home) == before


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
@pytest.mark.parametrize(("table", "n_rows"), [("meta_loops", N_RECORDS), ("trials", N_TRIALS)])
def test_an_export_has_every_record(
    form: str, table: str, n_rows: int, studied: Path, cli: Cli
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    options = ("study", "export", "--store", "runs.db", "--table", table, "--format", form)
    said = cli(*options, "--out", "deep/export")
    assert (said.code, said.out, said.err) == (0, "", "wrote deep/export\n")
    frame = read(studied / "deep" / "export", form)
    assert len(frame) == n_rows
    keys = ["architecture", "mode", "trial"] + ["meta_loop"] * (table == "meta_loops")
    assert not frame.duplicated(keys).any()
    if form != "parquet":
        assert cli(*options).out == (studied / "deep" / "export").read_text()
    assert [path.name for path in (studied / "deep").iterdir()] == ["export"]


def read(path: Path, form: str) -> pd.DataFrame:
    readers = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet}
    frame = readers[form](path)
    assert isinstance(frame, pd.DataFrame)
    return frame


def test_the_counts_of_an_export_are_those_of_the_summary(studied: Path, cli: Cli) -> None:
    exported = pd.read_csv(io.StringIO(cli("study", "export", "--store", "runs.db").out))
    assert set(exported.meta_loop) == {1, 2, 3}
    assert (exported.validation_accuracy == exported.validation_correct * 100 / 16).all()
    assert exported[exported.meta_loop == 1].promoted.all()
    assert exported.groupby("mode").ablated_layer.count().to_dict() == {"none": 0, "output": 8}
    cells = json.loads(cli("study", "summary", "--store", "runs.db", "--json").out)
    peaks = exported.groupby(["architecture", "mode", "trial"]).validation_accuracy.max()
    means = peaks.groupby(["architecture", "mode"]).mean()
    assert {(c["architecture"], c["mode"]): c["mean"] for c in cells} == pytest.approx(dict(means))


def test_an_extension_runs_only_what_is_new(studied: Path, cli: Cli) -> None:
    more_trials = cli("study", "extend", "--store", "runs.db", "--trials", 3, "--json")
    assert json.loads(more_trials.out)["trials_run"] == 4
    more_loops = cli("study", "extend", "--store", "runs.db", "--meta-loops", 5, "--json")
    assert json.loads(more_loops.out)["trials_run"] == 12
    exported = pd.read_csv(io.StringIO(cli("study", "export", "--store", "runs.db").out))
    assert len(exported) == 12 * 5
    again = cli("study", "run", "s.toml", "--store", "runs.db", "--json")
    assert json.loads(again.out)["trials_run"] == 0


def test_an_extended_study_equals_one_run_at_once(studied: Path, cli: Cli) -> None:
    cli("study", "extend", "--store", "runs.db", "--meta-loops", 5)
    write_spec(studied / "long.toml", meta_loops=5)
    cli("study", "run", "long.toml", "--store", "long.db")
    extended, whole = (
        pd.read_csv(io.StringIO(cli("study", "export", "--store", store).out))
        for store in ("runs.db", "long.db")
    )
    pd.testing.assert_frame_equal(extended.drop(columns="seconds"), whole.drop(columns="seconds"))


def test_a_store_may_have_any_file_name(home: Path, cli: Cli) -> None:
    write_spec(home / "s.toml")
    odd = "a b?c#d%20[é].db"
    assert cli("study", "run", "s.toml", "--store", odd, "--workers", 2).code == 0
    assert (home / odd).is_file()
    assert cli("study", "status", "--store", odd).code == 0


# one trial


def train(cli: Cli, *arguments: object) -> dict[str, object]:
    said = cli("train", "--dataset", "tiny", "--arch", "1*4", "--json", *arguments)
    assert said.code == 0, said.err
    answer = json.loads(said.out)
    assert isinstance(answer, dict)
    return answer


def test_a_trial_leaves_its_weights_and_story(home: Path, cli: Cli) -> None:
    answer = train(cli, "--mode", "hidden", "--meta-loops", 4, "--out", "out")
    assert (answer["meta_loops"], answer["mode"]) == (4, "hidden")
    assert sorted(contents(home)) == ["out", "out/lkg.json", "out/lkg.safetensors"]
    story = json.loads((home / "out" / "lkg.json").read_text())
    assert [record["meta_loop"] for record in story["records"]] == [1, 2, 3, 4]
    assert story["peak_validation_accuracy"] == answer["peak_validation_accuracy"]


def test_a_resumed_trial_equals_one_run_at_once(home: Path, cli: Cli) -> None:
    train(cli, "--meta-loops", 2, "--out", "parts")
    resumed = train(cli, "--meta-loops", 5, "--out", "parts", "--resume")
    whole = train(cli, "--meta-loops", 5, "--out", "whole")
    states = [(home / part / "lkg.safetensors").read_bytes() for part in ("parts", "whole")]
    assert states[0] == states[1]
    assert resumed["meta_loops"] == whole["meta_loops"] == 5


def test_a_trial_goes_on_in_another_mode(home: Path, cli: Cli) -> None:
    train(cli, "--meta-loops", 2, "--out", "out")
    answer = train(cli, "--meta-loops", 3, "--mode", "output", "--out", "out", "--resume")
    assert answer["meta_loops"] == 5
    story = json.loads((home / "out" / "lkg.json").read_text())
    assert story["segments"] == [
        {"mode": "none", "first": 1, "last": 2},
        {"mode": "output", "first": 3, "last": 5},
    ]
    ablated = [record["ablated_layer"] is not None for record in story["records"]]
    assert ablated == [False, False, True, True, True]


def test_progress_goes_to_stderr(cli: Cli) -> None:
    said = cli("train", "--dataset", "tiny", "--meta-loops", 2)
    assert [line.split(":")[0] for line in said.err.splitlines()] == ["meta-loop 1", "meta-loop 2"]
    assert said.out.startswith("peak ")


# pipes


def pipe_into(reader: Sequence[str], folder: Path, *arguments: str) -> tuple[int, str, str]:
    writer = subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first = subprocess.run(reader, stdin=writer.stdout, capture_output=True, text=True, check=True)
    assert writer.stdout is not None
    writer.stdout.close()
    _, err = writer.communicate(timeout=60)
    return writer.returncode, first.stdout, err


@pytest.mark.parametrize("arguments", [("landscape",), ("landscape", "--json")])
def test_a_reader_that_stops_early_is_no_error(arguments: tuple[str, ...], tmp_path: Path) -> None:
    code, first, err = pipe_into(["head", "-n", "1"], tmp_path, *arguments)
    assert (code, err) == (0, "")
    assert len(first.splitlines()) == 1
    code, _, err = pipe_into(["true"], tmp_path, *arguments)
    assert (code, err) == (0, "")


def test_a_closed_stdout_is_no_error(tmp_path: Path) -> None:
    shell = f"exec {' '.join(PROGRAM)} landscape >&-"
    done = subprocess.run(
        ["sh", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_module_runs_like_the_program(tmp_path: Path) -> None:
    assert run_process(tmp_path, "--version").out == "0.1.0\n"
