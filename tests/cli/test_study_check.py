"""``study check``: a sound store, a damaged one, and one that is repaired and run again."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from tests.cli.commands import write_spec
from tests.cli.conftest import Cli


def test_a_damaged_store_is_listed_repaired_and_run_again(home: Path, cli: Cli) -> None:
    write_spec(home / "s.toml")
    run = ("study", "run", "s.toml", "--store", "runs.db")
    assert cli(*run).code == 0
    summary = ("study", "summary", "--store", "runs.db")
    before = cli(*summary).out
    sound = cli("study", "check", "runs.db")
    assert (sound.code, sound.out) == (0, "store runs.db is sound.\n")
    with closing(sqlite3.connect("runs.db")) as connection, connection:
        connection.execute("UPDATE trials SET peak_correct = peak_correct + 1 WHERE trial_id = 2")
        connection.execute("DELETE FROM meta_loops WHERE trial_id = 5 AND meta_loop = 2")
    damaged = cli(*summary)
    assert damaged.code == 2
    assert "'antifragile study check runs.db' says what can be run again" in damaged.err
    listed = cli("study", "check", "runs.db", "--json")
    assert listed.code == 1
    found = json.loads(listed.out)
    assert [item["repair"] for item in found["findings"]] == ["run the trial again"] * 2
    repaired = cli("study", "check", "runs.db", "--repair")
    assert repaired.code == 0
    assert "2 mended, 0 left; the store as it was: runs.db.damaged-" in repaired.out
    again = cli(*run)
    assert again.code == 0
    assert "2 trials run" in again.out
    assert cli(*summary).out == before


def test_parts_of_an_export_are_the_whole(home: Path, cli: Cli) -> None:
    write_spec(home / "s.toml")
    assert cli("study", "run", "s.toml", "--store", "runs.db").code == 0
    for format_ in ("csv", "json"):
        export = ("study", "export", "--store", "runs.db", "--format", format_)
        whole = cli(*export).out
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("antifragile.store.columns.TRIALS_AT_ONCE", 3)
            assert cli(*export).out == whole
            assert cli(*export, "--out", "file").code == 0
        assert (home / "file").read_text() == whole
        assert len(whole.splitlines()) > 20


def test_a_store_of_two_names_is_not_written(home: Path, cli: Cli) -> None:
    write_spec(home / "s.toml")
    assert cli("study", "run", "s.toml", "--store", "runs.db").code == 0
    os.link("runs.db", "hard.db")
    said = cli("study", "extend", "--store", "hard.db", "--trials", 3)
    assert said.code == 2
    assert "is one file with 2 names (hard links)" in said.err
    assert cli("study", "status", "--store", "hard.db").code == 0


def test_a_folder_that_another_process_writes_is_refused(home: Path, cli: Cli) -> None:
    train = ("train", "--dataset", "tiny", "--arch", "1*4", "--meta-loops", 2, "--out", "net")
    (home / "net").mkdir()
    with FileLock(home / "net" / "driver.lock"):
        said = cli(*train)
    assert said.code == 2
    assert "another process writes its results to net; wait for it, stop it first" in said.err
    assert cli(*train, "--resume").code == 0  # also where nothing is there yet
    assert sorted(os.listdir("net")) == ["lkg.json", "lkg.safetensors"]
    assert cli(*train, "--resume").code == 0  # and where nothing is left to do


def test_kept_weights_are_compared_with_their_trials(home: Path, cli: Cli) -> None:
    write_spec(home / "s.toml")
    assert cli("study", "run", "s.toml", "--store", "runs.db").code == 0
    first, second, third, *others = sorted((home / "runs.db.files").rglob("*.safetensors"))
    assert others
    first.unlink()
    second.write_bytes(third.read_bytes())
    third.write_bytes(third.read_bytes()[:-1] + b"x")
    found = cli("study", "check", "runs.db", "--json")
    assert found.code == 1
    said = [item["what"] for item in json.loads(found.out)["findings"]]
    assert len(said) == 3
    for words in ("No such file", "belongs to another trial", "is damaged"):
        assert sum(words in what for what in said) == 1
    assert cli("study", "check", "runs.db", "--repair").code == 1  # they are not made anew
    for path in (home / "runs.db.files").rglob("*.safetensors"):
        path.unlink()
    assert cli("study", "check", "runs.db").out == "store runs.db is sound.\n"


def test_a_lost_trial_is_not_counted_away(home: Path, cli: Cli) -> None:
    write_spec(home / "s.toml")
    assert cli("study", "run", "s.toml", "--store", "runs.db").code == 0
    status = ("study", "status", "--store", "runs.db", "--json")
    [before] = json.loads(cli(*status).out)
    with closing(sqlite3.connect("runs.db")) as connection, connection:
        connection.execute("DELETE FROM meta_loops WHERE trial_id = 1")
        connection.execute("DELETE FROM trials WHERE trial_id = 1")
    [after] = json.loads(cli(*status).out)
    assert after == before | {"finished": before["finished"] - 1, "pending": 1}
    refused = cli("study", "run", "s.toml", "--store", "runs.db")
    assert "'antifragile study check runs.db --repair' plans it again" in refused.err
    assert cli("study", "check", "runs.db", "--repair").code == 0
    assert "1 trials run" in cli("study", "run", "s.toml", "--store", "runs.db").out
    assert json.loads(cli(*status).out) == [before]


def test_checksums_are_not_switched_off_by_an_older_version(home: Path, cli: Cli) -> None:
    write_spec(home / "s.toml")
    assert cli("study", "run", "s.toml", "--store", "runs.db").code == 0
    with closing(sqlite3.connect("runs.db")) as connection, connection:
        connection.execute("UPDATE antifragile_store SET schema_version = 1")
    for words in (("summary", "--store"), ("check",)):
        done = cli("study", *words, "runs.db")
        assert (done.code, "claims an older schema version" in done.err) == (2, True)
