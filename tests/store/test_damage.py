"""A damaged store says so: no changed bit passes as a value; what can be run again is repaired."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antifragile.config.specs.study import StudySpec
from antifragile.errors import AntifragileError, StoreError
from antifragile.store.ablation import AblationRun, AblationStore
from antifragile.store.check import Repair, check_store, repair_store
from antifragile.store.owner import OwnedKind
from antifragile.store.records import Environment, StoredTrial
from antifragile.study.runner import run_study

N_FLIPS = 400
SPEC = StudySpec.from_mapping(
    {
        "name": "small",
        "dataset": "tiny",
        "architectures": ["1*4", "2*3"],
        "modes": ["none", "hidden", "output"],
        "trials": 3,
        "meta_loops": 4,
        "evaluate": {"robustness": True, "harm": True},
    }
)
HERE = Environment(
    kernel="experiment",
    device="cpu",
    threads=1,
    precision="fp32",
    machine="abacus",
    torch_version="2",
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A finished study and an ablation study in one file."""
    path = tmp_path_factory.mktemp("good") / "runs.db"
    run_study(SPEC, store=str(path)).store.close()
    with AblationStore(str(path)) as store, store.owned(OwnedKind.ABLATION, "cut") as owner:
        store.put_manifest({"runs": list(range(40))}, owner=owner)
        for number in range(6):
            run = AblationRun(
                run_key=f"{number:064}",
                arm="norm--identity",
                protocol="retrain",
                seed=number,
                metrics={"accuracy": 0.1 * number},
            )
            store.put_ablation_runs([run], HERE, owner=owner)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    return path.read_bytes()


@pytest.fixture
def path(good: bytes, tmp_path: Path) -> Path:
    (tmp_path / "runs.db").write_bytes(good)
    return tmp_path / "runs.db"


def everything(path: Path) -> list[Any]:
    """Every value that a verb can show."""
    with AblationStore(str(path), create=False) as store:
        found: list[Any] = [store.studies(), store.study_names(), store.trials_by_study()]
        found += [store.trials("small")]
        for name in store.study_names():
            columns = store.record_columns(name)
            found += [store.study(name), store.trials(name), store.environments(name)]
            found += [{key: values.tolist() for key, values in columns.items()}]
            found += [store.robustness_rows(name), store.progress(name, 4)]
        found += [store.ablation_names(), store.manifest("cut")]
        found += [store.ablation_runs(f"{number:064}" for number in range(6))]
    return found


def flipped(content: bytes, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    for place in rng.sample(range(8 * len(content)), N_FLIPS):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        yield bytes(changed)


def test_a_flipped_bit_is_reported_or_changes_nothing(good: bytes, path: Path) -> None:
    reference, silent, said = repr(everything(path)), 0, 0
    for content in flipped(good, seed=7):
        for leftover in path.parent.iterdir():
            leftover.unlink()
        path.write_bytes(content)
        try:
            found = repr(everything(path))
        except AntifragileError:
            said += 1
        else:
            assert found == reference
            silent += 1
    assert said > N_FLIPS / 4, f"{silent} of {N_FLIPS} went unnoticed: are the bits in use?"


CHANGES = {
    "UPDATE trials SET test_correct = 1 - test_correct WHERE trial_id = 2": Repair.TRIAL,
    "UPDATE trials SET mode = 'nine' WHERE trial_id = 2": Repair.TRIAL,
    "UPDATE trials SET peak_correct = 'many' WHERE trial_id = 2": Repair.TRIAL,
    "DELETE FROM trials WHERE trial_id = 2": Repair.TRIAL,
    "UPDATE meta_loops SET bounty = bounty + 1 WHERE trial_id = 2": Repair.TRIAL,
    "UPDATE meta_loops SET bounty = 'x' WHERE trial_id = 2": Repair.TRIAL,
    "DELETE FROM meta_loops WHERE trial_id = 2 AND meta_loop = 4": Repair.TRIAL,
    "DELETE FROM robustness WHERE trial_id = 2 AND draw = 1": Repair.TRIAL,
    "UPDATE environments SET machine = 'x' WHERE kernel != 'experiment'": Repair.TRIAL,
    "UPDATE environments SET machine = 'x' WHERE kernel = 'experiment'": Repair.ABLATION,
    "UPDATE ablation_runs SET metrics = '{}' WHERE seed = 2": Repair.ABLATION,
    "UPDATE ablation_studies SET manifest = '{}'": Repair.ABLATION,
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_can_be_run_again_is_repaired(change: str, path: Path) -> None:
    before = by_names(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(change)
    damaged = path.read_bytes()
    with AblationStore(str(path), create=False, is_trusted=True) as store:
        found = check_store(store)
        assert CHANGES[change] in {finding.repair for finding in found}
        copy = repair_store(store, found)
        assert check_store(store) == []
    assert copy is not None
    assert copy.read_bytes() == damaged
    is_of_trial = CHANGES[change] is Repair.TRIAL
    outcome = run_study(SPEC, store=str(path))
    outcome.store.close()
    assert (outcome.n_run > 0) == is_of_trial
    assert by_names(path) == before


def by_names(path: Path) -> list[StoredTrial]:
    """Trials without the store's numbers for them, in the order of their names."""
    with AblationStore(str(path), create=False) as store:
        named = [replace(trial, trial_id=0) for trial in store.trials("small")]
    return sorted(named, key=lambda trial: (trial.architecture, trial.mode, trial.trial))


@pytest.mark.parametrize("name", ["x''", "NULL", "3.5", "x'ff'"])
def test_a_name_that_is_no_text_is_said(path: Path, name: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'name VARCHAR(200) NOT', 'name')"
        )
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("studies", "ablation_studies"):
            connection.execute(f"UPDATE {table} SET name = {name}")
    with AblationStore(str(path), create=False) as store:
        for read in (store.study, store.studies, store.manifest):
            with pytest.raises(StoreError, match="is damaged"):
                read()


def test_a_sound_store_has_no_findings_and_is_read_only(path: Path) -> None:
    before = path.read_bytes()
    with AblationStore(str(path), create=False, is_trusted=True) as store:
        assert check_store(store) == []
    assert path.read_bytes() == before


def test_a_damaged_spec_cannot_be_made_anew(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE studies SET spec = replace(spec, 'tiny', 'tony')")
    with AblationStore(str(path), create=False, is_trusted=True) as store:
        (finding,) = check_store(store)
        assert (finding.where, finding.repair) == ("study 'small'", Repair.NONE)
        repair_store(store, [finding])
        assert check_store(store) == [finding]
