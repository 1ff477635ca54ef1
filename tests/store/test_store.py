"""Opening stores: which URLs, which files, and what is left alone."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antifragile.errors import AntifragileError, StoreError, WorldError
from antifragile.store.database.address import parse_store_url, show
from antifragile.store.store import Store


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("runs.db", "runs.db"),
        ("a b?c#d%20.db", "a b?c#d%20.db"),
        ("/deep/runs.db", "/deep/runs.db"),
        ("sqlite:///runs.db", "runs.db"),
        ("sqlite+pysqlite:////deep/runs.db", "/deep/runs.db"),
        ("sqlite://", ":memory:"),
        (":memory:", ":memory:"),
        ("postgresql://u:secret@h:1/n", "postgresql+psycopg://u:***@h:1/n"),
        ("postgresql+psycopg2://h/n", "postgresql+psycopg://h/n"),
    ],
)
def test_how_stores_are_named(text: str, shown: str) -> None:
    if text.startswith("postgresql"):
        pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
    assert show(parse_store_url(text)) == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the store is empty; give a file as in runs.db"),
        ("://", "is not a database URL"),
        ("mysql://h/n", "unknown database 'mysql'; expected one of postgresql, sqlite"),
        ("postgres://h/n", "unknown database 'postgres'; did you mean 'postgresql'?"),
        ("sqlite://h/n.db", "names a host, SQLite has none"),
        ("postgresql://h:port/n", "is not a database URL"),
    ],
)
def test_what_is_no_store(text: str, message: str) -> None:
    with pytest.raises(StoreError) as caught:
        parse_store_url(text)
    assert message in str(caught.value)


@given(st.text(max_size=40) | st.text("sqliteposgr:/?#@[]%&=.", max_size=30))
def test_any_text_is_a_url_or_an_error(text: str) -> None:
    try:
        shown = show(parse_store_url(text))
    except AntifragileError as error:
        shown = str(error)
    assert shown


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "is a folder; give the path of a file"),
        ("text", "is not an antifragile store, or is damaged"),
        ("text/runs.db", "cannot be a file: Not a directory"),
        ("n" * 300, "cannot be a file: File name too long"),
        ("nul\0l", "cannot be a file"),
    ],
)
def test_files_that_are_no_store_are_left_alone(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("not a database, but long enough to look at" * 40)
    before = (tmp_path / "text").read_bytes()
    for create in (True, False):
        with pytest.raises(StoreError) as caught:
            Store(str(tmp_path / name), create=create)
        assert message in str(caught.value)
    assert (tmp_path / "text").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["folder", "text"]


def test_someone_elses_file_keeps_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "birds.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="has a table 'birds'"):
        Store(str(path))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["birds.db"]


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "runs.db").touch()
    with pytest.raises(StoreError, match=r"runs\.db is empty; run a study into it first"):
        Store(str(tmp_path / "runs.db"), create=False)
    with Store(str(tmp_path / "runs.db")) as store:
        assert store.study_names() == []


def test_folders_are_made_and_files_closed(tmp_path: Path) -> None:
    with Store(str(tmp_path / "new" / "folder" / "runs.db")) as store:
        assert not store.is_memory
        assert store.worker_url == str(tmp_path / "new" / "folder" / "runs.db")
    assert os.listdir(tmp_path / "new" / "folder") == ["runs.db"]


def test_a_server_that_is_not_there_is_the_worlds_fault() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(WorldError, match=r"postgresql\+psycopg://u:\*\*\*@127.* cannot be used:"):
        Store("postgresql://u:secret@127.0.0.1:9/name")
