"""Behaviour of every store, in every supported database."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, inspect

from antifragile.config.specs.study import StudySpec
from antifragile.engine.records import Damage, MetaLoopRecord, RobustnessRecord, TrialResult
from antifragile.errors import AntifragileError, StoreError, WorldError
from antifragile.store.database.address import parse_store_url
from antifragile.store.owner import OwnedKind, Ownership
from antifragile.store.records import DataFacts, Environment, TrialStatus
from antifragile.store.store import Store

FACTS = DataFacts(
    data_sha256="5" * 64, n_train=32, n_validation=16, n_test=16, zero_r_validation=4, zero_r_test=3
)
HERE = Environment(
    kernel="plain",
    device="cpu",
    threads=1,
    precision="fp32",
    machine="abacus, 'wood' ä",
    torch_version="2.0",
)
THERE = replace(HERE, machine="another")


def spec(**changes: object) -> StudySpec:
    return StudySpec.from_mapping(
        {
            "name": "one",
            "dataset": "tiny",
            "architectures": ["1*4", "[2*3, 1*2]"],
            "modes": ["none", "output"],
            "trials": 2,
            "meta_loops": 3,
        }
        | changes
    )


def record(meta_loop: int, correct: int = 5, **changes: object) -> MetaLoopRecord:
    values = {
        "meta_loop": meta_loop,
        "validation_correct": correct,
        "bounty": correct,
        "promoted": meta_loop == 1,
        "ablated_layer": None,
        "ablated_neuron": None,
        "train_loss": 1 / 3,
        "seconds": 0.25,
    }
    return MetaLoopRecord(**(values | changes))


RESULT = TrialResult(
    meta_loops=3, peak_correct=9, peak_meta_loop=2, final_correct=8, test_correct=7
)


RECORDS = (record(1, 7), record(2, 9), record(3, 8, bounty=9))
Records = Mapping[int, Sequence[MetaLoopRecord]]


def add(store: Store, **changes: object) -> list[int]:
    """Add a study; returns the numbers of its trials."""
    study = spec(**changes)
    add_study(store, study)
    return [trial.trial_id for trial in store.trials(study.name)]


def owned(store: Store, name: str = "one") -> AbstractContextManager[Ownership]:
    return store.owned(OwnedKind.STUDY, name)


def add_study(store: Store, study: StudySpec, facts: DataFacts = FACTS) -> None:
    with owned(store, study.name) as owner:
        store.add_study(study, facts, owner=owner)


def extend_study(store: Store, study: StudySpec) -> None:
    with owned(store, study.name) as owner:
        store.extend_study(study, owner=owner)


def put(store: Store, records: Records, environment: Environment = HERE, name: str = "one") -> None:
    with owned(store, name) as owner:
        store.add_records(records, environment, owner=owner)


def finish(store: Store, number: int, records: Sequence[MetaLoopRecord] = RECORDS) -> None:
    with owned(store) as owner:
        store.finish_trials({number: RESULT}, {number: records}, HERE, owner=owner)


def rows(store: Store, name: str) -> list[dict[str, Any]]:
    """Every record of a study, as the store gives it back; None where nothing was ablated."""
    columns = store.record_columns(name)
    for key in ("ablated_layer", "ablated_neuron", "ablated_correct") if columns else ():
        columns[key] = np.array([None if np.isnan(x) else int(x) for x in columns[key]])
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def everything(store: Store) -> list[object]:
    return [
        (store.study(name), store.trials(name), rows(store, name)) for name in store.study_names()
    ]


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.study_names() == []
    assert store.find_study("one") is None
    with pytest.raises(StoreError, match=r"has 0 studies \(none\); choose by --study"):
        store.study()
    with pytest.raises(StoreError, match="has no study 'one'; it has none"):
        store.study("one")


def test_a_study_comes_back_as_it_went_in(store: Store) -> None:
    add(store, name="Größe 'x'; DROP TABLE studies")
    study = store.study()
    assert study.spec == spec(name="Größe 'x'; DROP TABLE studies")
    assert study.data == FACTS
    assert study.created_at.endswith("+00:00")


def test_trials_are_pending_and_in_planned_order(store: Store) -> None:
    add(store)
    trials = store.trials("one")
    assert [(t.trial, t.architecture, t.mode) for t in trials] == [
        (t.trial, t.architecture.name, t.mode) for t in spec().trial_specs()
    ]
    assert {t.status(3) for t in trials} == {TrialStatus.PENDING}
    assert {(t.recorded_meta_loops, t.best_correct, t.result) for t in trials} == {(0, None, None)}


def test_adding_a_study_twice_changes_nothing(store: Store) -> None:
    first, *_ = add(store)
    put(store, {first: [record(1)]}, HERE)
    before = everything(store)
    add_study(store, spec(), replace(FACTS, n_train=99))
    assert everything(store) == before


def test_studies_do_not_see_each_other(store: Store) -> None:
    one, two = add(store), add(store, name="two", trials=1)
    assert set(one).isdisjoint(two)
    assert store.study_names() == ["one", "two"]
    put(store, {one[0]: [record(1)]}, HERE)
    put(store, {two[0]: [record(1, 6)]}, THERE, "two")
    assert [row["validation_correct"] for row in rows(store, "one")] == [5]
    assert store.environments("one") == [HERE]
    assert store.environments("two") == [THERE]
    with pytest.raises(StoreError, match=r"has 2 studies \('one', 'two'\); choose by --study"):
        store.study()
    with pytest.raises(StoreError, match="has no study 'tow'; did you mean 'two'"):
        store.study("tow")


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 1 / 3, 1e-300])
def test_records_come_back_exactly(loss: float, store: Store) -> None:
    first, *_ = add(store)
    written = record(1, promoted=True, ablated_layer=2, ablated_neuron=0, train_loss=loss)
    put(store, {first: [written, record(2)]}, HERE)
    found = rows(store, "one")
    assert [row["meta_loop"] for row in found] == [1, 2]
    row = found[0]
    assert row["train_loss"] == pytest.approx(
        loss if math.isfinite(loss) else math.nan, rel=0, abs=0, nan_ok=True
    )
    assert (row["promoted"], row["ablated_layer"], row["ablated_neuron"]) == (True, 2, 0)
    assert (row["study"], row["architecture"], row["mode"], row["trial"]) == (
        "one",
        "1*4",
        "none",
        1,
    )
    assert (row["machine"], row["threads"], row["n_validation"]) == (HERE.machine, 1, 16)
    assert found[1]["ablated_layer"] is None


def test_writing_a_record_again_changes_nothing(store: Store) -> None:
    first, *_ = add(store)
    put(store, {first: [record(1, 5), record(2, 6)]})
    before = everything(store)
    put(store, {first: [record(1, 5), record(2, 6, seconds=9.0)]})
    assert everything(store) == before
    put(store, {first: [record(2, 6), record(3, 8)]})
    assert [row["validation_correct"] for row in rows(store, "one")] == [5, 6, 8]


def test_what_comes_out_differently_replaces_all_from_there_on(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, *_ = add(store)
    finish(store, first)
    put(store, {second: [record(1, 5), record(2, 6), record(3, 8)]})
    put(store, {first: [record(2, 4, bounty=7)], second: [record(2, 6), record(3, 7)]})
    assert [row["validation_correct"] for row in rows(store, "one")] == [7, 4, 5, 6, 7]
    trial = store.trials("one")[0]
    assert (trial.result, trial.recorded_meta_loops, trial.best_correct) == (None, 2, 7)
    assert "trial 1 of 1*4 none came out differently when meta-loop 2 was run" in caplog.text
    finish(store, first, [record(2, 9), record(3, 8, bounty=9)])
    assert store.trials("one")[0].result == RESULT


def test_records_of_other_conditions_are_refused(store: Store) -> None:
    first, second, *_ = add(store)
    put(store, {first: [record(1)]})
    before = everything(store)
    with pytest.raises(StoreError, match=r"trial 1 of 1\*4 none has records that were computed un"):
        put(store, {second: [record(1)], first: [record(2)]}, THERE)
    assert everything(store) == before
    with store.owned(OwnedKind.STUDY, "one", may_mix=True) as owner:
        store.add_records({first: [record(2)]}, THERE, owner=owner)
    assert store.environments("one") == sorted([HERE, THERE], key=lambda e: e.environment_id)


def test_a_result_that_disagrees_with_its_records_is_refused(store: Store) -> None:
    first, *_ = add(store)
    for records in ([], RECORDS[:2], [*RECORDS[:2], record(3, 10)], [RECORDS[0], RECORDS[2]]):
        with pytest.raises(StoreError, match="they do not belong together; nothing was written"):
            finish(store, first, records)
    assert rows(store, "one") == []
    finish(store, first)
    other = {first: replace(RESULT, test_correct=6)}
    with owned(store) as owner, pytest.raises(StoreError, match="has another result already"):
        store.finish_trials(other, {}, HERE, owner=owner)


def test_trials_of_another_study_are_refused(store: Store) -> None:
    add(store)
    others = add(store, name="two")
    with pytest.raises(StoreError, match=f"study 'one' has no trial of number {others[0]}"):
        put(store, {others[0]: [record(1)]})


def test_more_records_than_one_statement_holds(store: Store) -> None:
    ids = add(store, meta_loops=1000)
    put(store, {i: [record(n) for n in range(1, 1001)] for i in ids[:3]}, HERE)
    assert len(rows(store, "one")) == 3000


def test_only_an_unbroken_run_of_records_counts(store: Store) -> None:
    whole, broken, *_ = add(store)
    put(store, {whole: [record(1), record(2)], broken: [record(1), record(3, 9)]}, HERE)
    by_id = {trial.trial_id: trial for trial in store.trials("one")}
    assert by_id[whole].recorded_meta_loops == 2
    assert by_id[whole].status(3) is TrialStatus.STARTED
    assert by_id[broken].recorded_meta_loops == 0
    assert by_id[broken].best_correct == 9


def test_a_result_comes_with_its_last_records(store: Store) -> None:
    first, *others = add(store)
    put(store, {first: RECORDS[:1]})
    finish(store, first, RECORDS[1:])
    by_id = {trial.trial_id: trial for trial in store.trials("one")}
    assert by_id[first].result == RESULT
    assert by_id[first].status(3) is TrialStatus.FINISHED
    assert by_id[first].status(4) is TrialStatus.STARTED
    assert {by_id[i].result for i in others} == {None}


def test_progress(store: Store) -> None:
    first, *_, last = add(store)
    empty = store.progress("one", 3)
    assert (empty.n_finished, empty.records, empty.best) == (0, {}, None)
    finish(store, first)
    put(store, {last: [record(1, 7)]})
    progress = store.progress("one", 3)
    assert progress.n_finished == 1
    assert progress.records == {"1*4": 3, "[2*3, 1*2]": 1}
    assert progress.best == (9, "1*4", "none")
    assert store.progress("one", 4).n_finished == 0


def test_an_extension_adds_trials_and_keeps_results(store: Store) -> None:
    ids = add(store)
    finish(store, ids[0])
    extend_study(store, spec(trials=3, meta_loops=5))
    assert store.study().spec == spec(trials=3, meta_loops=5)
    trials = store.trials("one")
    assert [t.trial_id for t in trials[: len(ids)]] == ids
    assert [t.trial for t in trials[len(ids) :]] == [3] * 4
    assert trials[0].result == RESULT
    assert list(store.trials_by_study()) == ["one"]


def test_a_store_is_the_same_when_opened_again(shared_url: str) -> None:
    with Store(shared_url) as first:
        ids = add(first)
        finish(first, ids[0])
        before, worker_url = everything(first), first.worker_url
    for url in (shared_url, worker_url):
        with Store(url, create=False) as again:
            assert everything(again) == before


def test_an_empty_database_is_made_a_store_only_on_demand(shared_url: str) -> None:
    with pytest.raises(StoreError, match=r"there is no store at|is empty; run a study into it"):
        Store(shared_url, create=False)
    Store(shared_url).close()
    Store(shared_url, create=False).close()


def test_a_newer_store_is_refused(shared_url: str) -> None:
    Store(shared_url).close()
    execute(shared_url, "UPDATE antifragile_store SET schema_version = 99")
    with pytest.raises(StoreError, match="has schema version 99, newer than this program's 2; upg"):
        Store(shared_url)


def test_someone_elses_database_is_refused_and_left_alone(shared_url: str) -> None:
    execute(shared_url, "CREATE TABLE birds (name TEXT)")
    before = tables(shared_url)
    with pytest.raises(StoreError, match=r"database of something else \(it has a table 'birds'\)"):
        Store(shared_url)
    assert tables(shared_url) == before


def execute(url: str, statement: str, wait_s: float = 30) -> None:
    """Change a store behind its back, waiting so long for others that hold it."""
    parsed = parse_store_url(url)
    is_file = parsed.get_backend_name() == "sqlite"
    waits = {"timeout": wait_s} if is_file else {"options": f"-c lock_timeout={wait_s * 1000:.0f}"}
    engine = create_engine(parsed, connect_args=waits)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


def tables(url: str) -> list[str]:

    engine = create_engine(parse_store_url(url))
    names = inspect(engine).get_table_names()
    engine.dispose()
    return sorted(names)


WRITER = """
import sys
from antifragile.store.store import Store
from tests.contracts.test_store_contract import HERE, add, owned, record
url, number = sys.argv[1], int(sys.argv[2])
sys.stdin.read()  # all at once
with Store(url) as store:
    name = f"study {number}"
    ids = add(store, name=name)
    with owned(store, name) as owner:
        for meta_loop in range(1, 41):
            records = {ids[0]: [record(meta_loop)], ids[-1]: [record(meta_loop)]}
            store.add_records(records, HERE, owner=owner)
"""


def test_processes_may_write_at_once(shared_url: str) -> None:
    command = [sys.executable, "-c", WRITER, shared_url]
    writers = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for number in range(3)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
        writer.stdin = None
    for writer in writers:
        _, err = writer.communicate(timeout=120)
        assert writer.returncode == 0, err.decode()
    with Store(shared_url, create=False) as store:
        assert sorted(store.study_names()) == ["study 0", "study 1", "study 2"]
        for name in store.study_names():
            assert len(store.trials(name)) == 8
            assert len(rows(store, name)) == 2 * 40
            assert store.environments(name) == [HERE]


NEW_COLUMNS = {
    "meta_loops": ["ablated_correct"],
    "studies": ["checksum"],
    "trials": [
        *("n_records", "last_record", "best_correct", "environment_ids"),
        *("records_checksum", "robustness_checksum", "checksum"),
    ],
    "ablation_studies": ["checksum"],
    "ablation_runs": ["checksum"],
}


def make_version_1(url: str) -> None:
    """Take away all that later programs added."""
    for table, columns in NEW_COLUMNS.items():
        for column in columns:
            execute(url, f"ALTER TABLE {table} DROP COLUMN {column}")
    execute(url, "DROP TABLE robustness")
    execute(url, "DROP TABLE owners")
    execute(url, "UPDATE antifragile_store SET schema_version = 1")


def test_the_store_of_an_older_program_is_read_as_it_is_and_goes_on(shared_url: str) -> None:
    with Store(shared_url) as store:
        first, second, *_ = add(store)
        finish(store, first)
        put(store, {second: [record(1), record(2)]})
        before = (*everything(store), store.progress("one", 3), store.environments("one"))
    make_version_1(shared_url)
    with Store(shared_url, create=False) as store:
        assert not store.has_checksums
        found = (*everything(store), store.progress("one", 3), store.environments("one"))
        assert found == before
        assert store.robustness_rows("one") == []
        assert not {"robustness", "owners"} & set(tables(shared_url))
        store.upgrade()
        assert store.has_checksums
        put(store, {second: [record(3, ablated_correct=4)]}, HERE)
        assert [row["ablated_correct"] for row in rows(store, "one")][-2:] == [None, 4]
    assert {"robustness", "owners"} <= set(tables(shared_url))


def test_a_store_opened_to_be_written_is_upgraded(shared_url: str) -> None:
    with Store(shared_url) as store:
        first, *_ = add(store)
        put(store, {first: [record(1)]})
        before = everything(store)
    make_version_1(shared_url)
    with Store(shared_url) as store:
        assert store.has_checksums
        assert everything(store) == before


def test_a_store_without_one_of_its_first_tables_is_not_mended(shared_url: str) -> None:
    Store(shared_url).close()
    execute(shared_url, "DROP TABLE meta_loops")
    with pytest.raises(AntifragileError, match=r"is damaged \(no table meta_loops\)"):
        Store(shared_url)
    assert "meta_loops" not in tables(shared_url)


def test_a_living_owner_is_named_and_kept(store: Store) -> None:
    with owned(store):
        with pytest.raises(
            StoreError, match=f"'one' is being run by process {os.getpid()} on this"
        ):
            store.claim(OwnedKind.STUDY, "one")
        with owned(store, "two"), store.owned(OwnedKind.ABLATION, "one"):
            pass
    with owned(store):
        pass


CLAIM = """
import sys
from antifragile.store.store import Store
from antifragile.store.owner import OwnedKind
with Store(sys.argv[1]) as store:
    store.claim(OwnedKind.STUDY, "one")
    print("claimed", flush=True)
    sys.stdin.read()
    import os
    os._exit(1)
"""


def test_a_dead_owner_is_replaced_at_once(shared_url: str) -> None:
    command = [sys.executable, "-c", CLAIM, shared_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with Store(shared_url) as store, subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == b"claimed\n"
        with pytest.raises(StoreError, match=f"by process {other.pid} on this machine since 2"):
            store.claim(OwnedKind.STUDY, "one")
        os.kill(other.pid, signal.SIGSTOP)  # a process that only stands still may go on
        with pytest.raises(StoreError, match="wait for it, or stop it first"):
            store.claim(OwnedKind.STUDY, "one")
        other.kill()
        other.wait()
        with owned(store):
            pass


@pytest.mark.parametrize("column", ["boot_id", "namespace"])
def test_an_owner_elsewhere_is_replaced_when_its_heart_stands_still(
    column: str, shared_url: str
) -> None:
    with Store(shared_url) as store:
        ids = add(store)
        displaced = store.claim(OwnedKind.STUDY, "one")
        execute(shared_url, f"UPDATE owners SET {column} = 'another', host = 'far'")
        with pytest.raises(StoreError, match=r"is being run by process \d+ on "):
            store.claim(OwnedKind.STUDY, "one")
        execute(shared_url, "UPDATE owners SET heartbeat = heartbeat - 61")
        with owned(store) as owner:
            with pytest.raises(WorldError, match="was taken from this process while it did not"):
                store.add_records({ids[0]: [record(1)]}, HERE, owner=displaced)
            assert rows(store, "one") == []
            store.add_records({ids[0]: [record(1)]}, HERE, owner=owner)
            store.release(displaced)  # changes nothing
            store.confirm(owner)
        with pytest.raises(WorldError, match=r"\(nobody runs it now\)"):
            store.confirm(displaced)
        assert len(rows(store, "one")) == 1


CHANGES = [
    "UPDATE meta_loops SET seconds = 0.5 WHERE meta_loop = 2",
    "UPDATE meta_loops SET ablated_layer = 0 WHERE meta_loop = 2",
    "UPDATE meta_loops SET bounty = 8 WHERE meta_loop = 1",
    "DELETE FROM meta_loops WHERE meta_loop = 3",
    "UPDATE trials SET test_correct = 8 WHERE test_correct = 7",
    "UPDATE trials SET best_correct = NULL WHERE trial_id = 1",
    "UPDATE trials SET checksum = NULL WHERE trial_id = 1",
    "UPDATE trials SET finished_at = '2020' WHERE trial_id = 1",
    "UPDATE studies SET zero_r_test = 4",
    "UPDATE studies SET spec = replace(spec, '\"trials\":2', '\"trials\":1')",
    "UPDATE environments SET machine = 'abakus'",
    "DELETE FROM robustness WHERE draw = 2",
    "UPDATE robustness SET level = 0.25 WHERE draw = 2",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_row_is_noticed_when_it_is_read(change: str, shared_url: str) -> None:
    damage = tuple(
        RobustnessRecord(damage=Damage.WEIGHT_NOISE, level=0.5, draw=n, test_correct=n)
        for n in (1, 2)
    )
    with Store(shared_url) as store:
        ids = add(store)
        with owned(store) as owner:
            result = {ids[0]: replace(RESULT, robustness=damage)}
            store.finish_trials(result, {ids[0]: RECORDS}, HERE, owner=owner)
        assert len(store.robustness_rows("one")) == 2
    execute(shared_url, change)
    with Store(shared_url, create=False) as store, pytest.raises(StoreError, match="is damaged"):
        (everything(store), store.environments("one"), store.robustness_rows("one"))


@pytest.mark.parametrize("change", ["removed", "moved", "replaced"])
def test_a_store_that_loses_its_place_is_not_written_on(tmp_path: Path, change: str) -> None:
    path = tmp_path / "runs.db"
    with Store(str(path)) as store, owned(store) as owner:
        store.add_study(spec(), FACTS, owner=owner)
        other = tmp_path / "other.db"
        with Store(str(other)) as another:
            assert another.study_names() == []
        if change == "removed":
            path.unlink()
        elif change == "moved":
            path.rename(tmp_path / "elsewhere.db")
        else:
            other.rename(path)
        with pytest.raises(WorldError, match="was moved, removed or replaced while it was in use"):
            store.extend_study(spec(), owner=owner)
    assert path.exists() == (change == "replaced")
