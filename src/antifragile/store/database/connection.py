"""Opening the database of a store, and transactions in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.pool import StaticPool

from antifragile.errors import StoreError
from antifragile.store.database import schema, versions
from antifragile.store.database.address import (
    check_sqlite_file,
    is_memory,
    is_read_only,
    readable,
    show,
)
from antifragile.store.database.faults import file_damaged, translated

_BUSY_TIMEOUT_S = 60


def open_engine(
    url: URL, *, create: bool, is_trusted: bool, seal: Callable[[Connection], None]
) -> Engine:
    """Connect, check that the database is a store, and make the tables if it is empty.

    Args:
        url: As from `parse_store_url`.
        create: Make the tables of an empty database, and bring those of an older program up to
            date; of a store that may only be read nothing is changed all the same.
        is_trusted: Leave out the search for lost rows.
        seal: Gives the rows of an older program's store their checksums.

    Raises:
        StoreError: It is of another program, damaged or newer; or it is absent and not ``create``.
        WorldError: It cannot be reached or written.
    """
    if url.get_backend_name() == "sqlite":
        check_sqlite_file(url, create=create)
    create = create and not is_read_only(url)
    with translated(url):
        engine = _new_engine(url if create else readable(url))
    try:
        with translated(url):
            if not is_trusted:
                _check_structure(engine, url)
            _check_or_fill(engine, url, create=create, seal=seal)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _check_or_fill(
    engine: Engine, url: URL, *, create: bool, seal: Callable[[Connection], None]
) -> None:
    """Make the tables of an empty database; refuse one of another program."""
    with reading_transaction(engine) as connection:
        tables = set(inspect(connection).get_table_names())
        if schema.MARKER_TABLE in tables:
            version = connection.execute(select(schema.marker)).scalars().all()
            _check_version(version, url)
            if missing := sorted({*schema.FIRST_TABLES} - tables):
                raise file_damaged(url, f"no table {missing[0]}")
            if version == [1] and versions.has_checksums(connection):
                raise file_damaged(url, "it claims an older schema version than its tables have")
        elif tables:
            raise StoreError(
                f"store {show(url)} is a database of something else (it has a table "
                f"{sorted(tables)[0]!r}); give another file or database."
            )
        elif not create:
            raise StoreError(f"store {show(url)} is empty; run a study into it first.")
        statements = versions.view_statements(connection) if tables else []
    if create:
        _use_write_ahead_log(engine)
    if not tables or (statements and create):
        with exclusive_transaction(engine) as connection:
            versions.make_or_upgrade(connection, seal)
    elif statements:
        _look_through(engine, statements)


def store_version(engine: Engine) -> int:
    """Version of the schema of an open store."""
    with reading_transaction(engine) as connection:
        return int(connection.execute(select(schema.marker)).scalar_one())


def _check_structure(engine: Engine, url: URL) -> None:
    """Let SQLite look for lost rows in the small tables; the large ones have sums in others."""
    if engine.dialect.name != "sqlite" or sqlite3.sqlite_version_info < (3, 33):
        return
    with reading_transaction(engine) as connection:
        tables = set(inspect(connection).get_table_names())
        for table in sorted(tables & set(schema.metadata.tables) - {"meta_loops", "robustness"}):
            said = connection.exec_driver_sql(f"PRAGMA integrity_check({table})").scalar()
            if said != "ok":
                raise file_damaged(url, str(said).splitlines()[-1])


def _look_through(engine: Engine, statements: Sequence[str]) -> None:
    """Give every connection views, which show an older store as one of today."""
    engine.dispose()

    @event.listens_for(engine, "connect")
    def make_views(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        if engine.dialect.name != "sqlite":
            connection.commit()


@contextmanager
def reading_transaction(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that sees one moment of the store."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


@contextmanager
def writing_transaction(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that writes; on SQLite it excludes other writers."""
    with engine.connect().execution_options(is_writing=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":  # a process that stands still may hold a row
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_BUSY_TIMEOUT_S}s'")
        yield connection


@contextmanager
def exclusive_transaction(engine: Engine) -> Iterator[Connection]:
    """Open a writing transaction that excludes all others of this kind."""
    with writing_transaction(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7206270)")
        yield connection


def _new_engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if is_memory(url):
        arguments = {"check_same_thread": False}
        engine = create_engine(url, connect_args=arguments, poolclass=StaticPool)
        _begin_explicitly(engine)
        return engine
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})

    _begin_explicitly(engine)
    return engine


def _begin_explicitly(engine: Engine) -> None:
    """Begin transactions ourselves: the driver begins at the first change, too late to read."""

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        # NORMAL survives any process kill; a power cut may lose the last transactions, which are
        # then computed again.
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        is_writing = connection.get_execution_options().get("is_writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _use_write_ahead_log(engine: Engine) -> None:
    """Let readers go on while one process writes; the file remembers it."""
    if engine.dialect.name == "sqlite" and not is_memory(engine.url):
        raw = engine.raw_connection()  # within a transaction it cannot be changed
        try:
            raw.cursor().execute("PRAGMA journal_mode=WAL")
        finally:
            raw.close()


def _check_version(versions: Sequence[object], url: URL) -> None:
    version = versions[0] if len(versions) == 1 else None
    if not isinstance(version, int) or version < 1:
        raise StoreError(f"store {show(url)} is damaged: it does not say its schema version.")
    if version > schema.SCHEMA_VERSION:
        raise StoreError(
            f"store {show(url)} has schema version {version}, newer than this program's "
            f"{schema.SCHEMA_VERSION}; upgrade antifragile."
        )
