"""Behaviour of every store, in every supported database."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from antifragile.config.study import StudySpec
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.errors import AntifragileError, StoreError
from antifragile.store.connection import parse_store_url
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


def add(store: Store, **changes: object) -> list[int]:
    """Add a study; returns the numbers of its trials."""
    study = spec(**changes)
    store.add_study(study, FACTS)
    return [trial.trial_id for trial in store.trials(study.name)]


def rows(store: Store, name: str) -> list[dict[str, Any]]:
    """Every record of a study, as the store gives it back."""
    columns = store.record_columns(name)
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
    store.add_records({first: [record(1)]}, HERE)
    before = everything(store)
    store.add_study(spec(), replace(FACTS, n_train=99))
    assert everything(store) == before


def test_studies_do_not_see_each_other(store: Store) -> None:
    one, two = add(store), add(store, name="two", trials=1)
    assert set(one).isdisjoint(two)
    assert store.study_names() == ["one", "two"]
    store.add_records({one[0]: [record(1)]}, HERE)
    store.add_records({two[0]: [record(1, 6)]}, THERE)
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
    store.add_records({first: [written, record(2)]}, HERE)
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


def test_writing_a_record_again_keeps_the_first(store: Store) -> None:
    first, *_ = add(store)
    store.add_records({first: [record(1, 5), record(2, 6)]}, HERE)
    before = everything(store)
    store.add_records({first: [record(1, 7), record(2, 7)]}, THERE)
    assert everything(store) == before
    store.add_records({first: [record(2, 7), record(3, 8)]}, HERE)
    assert [row["validation_correct"] for row in rows(store, "one")] == [5, 6, 8]


def test_more_records_than_one_statement_holds(store: Store) -> None:
    ids = add(store, meta_loops=1000)
    store.add_records({i: [record(n) for n in range(1, 1001)] for i in ids[:3]}, HERE)
    assert len(rows(store, "one")) == 3000


def test_only_an_unbroken_run_of_records_counts(store: Store) -> None:
    whole, broken, *_ = add(store)
    store.add_records({whole: [record(1), record(2)], broken: [record(1), record(3, 9)]}, HERE)
    by_id = {trial.trial_id: trial for trial in store.trials("one")}
    assert by_id[whole].recorded_meta_loops == 2
    assert by_id[whole].status(3) is TrialStatus.STARTED
    assert by_id[broken].recorded_meta_loops == 0
    assert by_id[broken].best_correct == 9


def test_a_result_comes_with_its_last_records(store: Store) -> None:
    first, second, *others = add(store)
    records = {first: [record(1), record(2), record(3)]}
    store.finish_trials({first: RESULT, second: RESULT}, records, HERE)
    by_id = {trial.trial_id: trial for trial in store.trials("one")}
    assert by_id[first].result == by_id[second].result == RESULT
    assert by_id[first].status(3) is TrialStatus.FINISHED
    assert by_id[first].status(4) is TrialStatus.STARTED
    assert {by_id[i].result for i in others} == {None}


def test_progress(store: Store) -> None:
    first, *_, last = add(store)
    empty = store.progress("one", 3)
    assert (empty.n_finished, empty.records, empty.best) == (0, {}, None)
    store.finish_trials({first: RESULT}, {first: [record(1, 9), record(2, 8, bounty=9)]}, HERE)
    store.add_records({last: [record(1, 7)]}, HERE)
    progress = store.progress("one", 3)
    assert progress.n_finished == 1
    assert progress.records == {"1*4": 2, "[2*3, 1*2]": 1}
    assert progress.best == (9, "1*4", "none")
    assert store.progress("one", 4).n_finished == 0


def test_an_extension_adds_trials_and_keeps_results(store: Store) -> None:
    ids = add(store)
    store.finish_trials({ids[0]: RESULT}, {ids[0]: [record(1)]}, HERE)
    store.extend_study(spec(trials=3, meta_loops=5))
    assert store.study().spec == spec(trials=3, meta_loops=5)
    trials = store.trials("one")
    assert [t.trial_id for t in trials[: len(ids)]] == ids
    assert [t.trial for t in trials[len(ids) :]] == [3] * 4
    assert trials[0].result == RESULT


def test_a_store_is_the_same_when_opened_again(shared_url: str) -> None:
    with Store(shared_url) as first:
        ids = add(first)
        first.finish_trials({ids[0]: RESULT}, {ids[0]: [record(1)]}, HERE)
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
    with pytest.raises(StoreError, match="has schema version 99, newer than this program's 1; upg"):
        Store(shared_url)


def test_someone_elses_database_is_refused_and_left_alone(shared_url: str) -> None:
    execute(shared_url, "CREATE TABLE birds (name TEXT)")
    before = tables(shared_url)
    with pytest.raises(StoreError, match=r"database of something else \(it has a table 'birds'\)"):
        Store(shared_url)
    assert tables(shared_url) == before


def execute(url: str, statement: str) -> None:
    engine = create_engine(parse_store_url(url))
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def tables(url: str) -> list[str]:

    engine = create_engine(parse_store_url(url))
    names = inspect(engine).get_table_names()
    engine.dispose()
    return sorted(names)


WRITER = """
import sys
from antifragile.store.store import Store
from tests.contracts.test_store_contract import HERE, RESULT, add, record
url, number = sys.argv[1], int(sys.argv[2])
sys.stdin.read()  # all at once
with Store(url) as store:
    ids = add(store)
    for meta_loop in range(1, 41):
        mine = {ids[number]: [record(meta_loop)], ids[-1]: [record(meta_loop)]}
        store.add_records(mine, HERE)
    store.finish_trials({ids[number]: RESULT}, {}, HERE)
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
        assert store.study_names() == ["one"]
        assert len(store.trials("one")) == 8
        assert store.progress("one", 3).n_finished == 3
        assert len(rows(store, "one")) == 4 * 40
        assert store.environments("one") == [HERE]


def test_the_store_of_an_older_program_is_read_and_goes_on(shared_url: str) -> None:
    with Store(shared_url) as store:
        first, *_ = add(store)
        store.add_records({first: [record(1)]}, HERE)
        before = rows(store, "one")
    execute(shared_url, "ALTER TABLE meta_loops DROP COLUMN ablated_correct")
    execute(shared_url, "DROP TABLE robustness")
    with Store(shared_url, create=False) as store:
        assert rows(store, "one") == before
        assert "robustness" not in tables(shared_url)
        store.upgrade()
        store.add_records({first: [record(2, ablated_correct=4)]}, HERE)
        assert [row["ablated_correct"] for row in rows(store, "one")] == [None, 4]
    assert "robustness" in tables(shared_url)


def test_a_store_opened_to_be_written_is_upgraded(shared_url: str) -> None:
    Store(shared_url).close()
    execute(shared_url, "ALTER TABLE meta_loops DROP COLUMN ablated_correct")
    with Store(shared_url) as store:
        first, *_ = add(store)
        store.add_records({first: [record(1, ablated_correct=3)]}, HERE)
        assert [row["ablated_correct"] for row in rows(store, "one")] == [3]


def test_a_store_without_one_of_its_first_tables_is_not_mended(shared_url: str) -> None:
    Store(shared_url).close()
    execute(shared_url, "DROP TABLE meta_loops")
    with Store(shared_url) as store, pytest.raises(AntifragileError, match="meta_loops"):
        add(store)
    assert "meta_loops" not in tables(shared_url)
