"""Ablation studies in the store: runs by key, failures replaced, finished runs never."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from antifragile.errors import StoreError
from antifragile.store.ablation import AblationRun, AblationStore
from antifragile.store.owner import OwnedKind
from antifragile.store.records import Environment
from antifragile.store.store import Store

HERE = Environment(
    kernel="experiment",
    device="cpu",
    threads=1,
    precision="fp32",
    machine="x86_64",
    torch_version="2.13.0",
)
RUN = AblationRun(
    run_key="a" * 64, arm="baseline", protocol="retrain", seed=3, metrics={"accuracy": 0.1 + 0.2}
)


def put(store: AblationStore, run: AblationRun) -> None:
    with store.owned(OwnedKind.ABLATION, "one") as owner:
        store.put_ablation_runs([run], HERE, owner=owner)


def put_manifest(store: AblationStore, name: str, manifest: dict[str, object]) -> None:
    with store.owned(OwnedKind.ABLATION, name) as owner:
        store.put_manifest(manifest, owner=owner)


def without_time(run: AblationRun) -> AblationRun:
    return replace(run, finished_at="")


def test_a_run_comes_back_bit_for_bit() -> None:
    with AblationStore("sqlite://") as store:
        put(store, RUN)
        found = store.ablation_runs([RUN.run_key, "b" * 64])
        assert {k: without_time(v) for k, v in found.items()} == {RUN.run_key: RUN}


def test_a_failure_is_replaced_and_a_finished_run_is_not() -> None:
    failed = replace(RUN, metrics=None, failure="the training diverged")
    with AblationStore("sqlite://") as store:
        for run in (failed, RUN, failed, replace(RUN, metrics={"accuracy": 9.0})):
            put(store, run)
        assert without_time(store.ablation_runs([RUN.run_key])[RUN.run_key]) == RUN


def test_many_keys_are_asked_for_at_once() -> None:
    with AblationStore("sqlite://") as store:
        runs = [replace(RUN, run_key=f"{n:064}", seed=n) for n in range(1000)]
        for run in runs[::100]:
            put(store, run)
        assert len(store.ablation_runs(run.run_key for run in runs)) == 10


def test_the_manifest_of_a_name_is_replaced() -> None:
    with AblationStore("sqlite://") as store:
        put_manifest(store, "one", {"seeds": [1]})
        put_manifest(store, "one", {"seeds": [1, 2]})
        assert store.manifest() == store.manifest("one") == {"seeds": [1, 2]}


def test_a_study_must_be_named_where_there_are_several_or_none() -> None:
    with AblationStore("sqlite://") as store:
        with pytest.raises(StoreError, match=r"has 0 ablation studies \(none\)"):
            store.manifest()
        put_manifest(store, "one", {})
        put_manifest(store, "two", {})
        with pytest.raises(StoreError, match="choose by --study"):
            store.manifest()
        with pytest.raises(StoreError, match="did you mean 'two'"):
            store.manifest("tow")


def test_the_tables_are_added_to_an_older_store(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    Store(str(path)).close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE ablation_runs"))
        connection.execute(text("DROP TABLE ablation_studies"))
    engine.dispose()
    with AblationStore(str(path)) as store:
        put(store, RUN)
        assert RUN.run_key in store.ablation_runs([RUN.run_key])


def test_damage_is_said(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with AblationStore(str(path)) as store:
        put(store, RUN)
        put_manifest(store, "one", {})
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE ablation_runs SET metrics = '{'"))
        connection.execute(text("UPDATE ablation_studies SET manifest = '3'"))
    engine.dispose()
    with AblationStore(str(path)) as store:
        with pytest.raises(StoreError, match=r"row of run_key 'aaa.* in table ablation_runs does"):
            store.ablation_runs([RUN.run_key])
        with pytest.raises(StoreError, match="row of name 'one' in table ablation_studies does"):
            store.manifest("one")
