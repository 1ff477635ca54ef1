"""Opening a database, and turning its driver's errors into this package's."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from antifragile._files import make_folder
from antifragile._optional import require
from antifragile._shown import hide_secrets, show_address
from antifragile.errors import StoreError, WorldError, nearest
from antifragile.store import schema

_BUSY_TIMEOUT_S = 60
_DIALECTS = ("sqlite", "postgresql")
_HOW = "write postgresql://USER:PASSWORD@HOST:PORT/NAME"
_LIKE_A_URL = re.compile(r"(postgres|mysql|mariadb|sqlite)\w*[+:/]|[A-Za-z][\w+.-]+:/", re.I)
_DAMAGE = (
    *("malformed", "not a database", "corrupt", "file is encrypted", "unsupported file format"),
    *("no such table", "no such column", "could not decode"),
)


def parse_store_url(text: str) -> URL:
    """Read ``sqlite:///runs.db``, ``postgresql://...``, or a plain path to an SQLite file.

    Raises:
        StoreError: Not a URL of a supported database.
    """
    if not text.strip():
        raise StoreError("the store is empty; give a file as in runs.db, or a database URL.")
    if "://" not in text:
        return URL.create("sqlite", database=_file_name(text))
    try:
        url = make_url(text)
        dialect = url.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise StoreError(
            f"store {show_address(text)!r} is not a database URL; {_HOW}, with a number for PORT."
        ) from error
    if dialect not in _DIALECTS:
        raise StoreError(
            f"store {show_address(text)!r}: unknown database {dialect!r}; "
            f"{nearest(dialect, _DIALECTS)}"
        )
    if "@" in (url.host or ""):
        raise StoreError(
            f"store {show_address(text)!r} has an @ within its password; write it as %40, a / as "
            "%2F."
        )
    if dialect == "postgresql":
        require("psycopg", extra="postgres", purpose="a PostgreSQL store")
        return url.set(drivername="postgresql+psycopg")
    if url.host:
        raise StoreError(
            f"store {show_address(text)!r} names a host, SQLite has none; write sqlite:///PATH, "
            "three slashes."
        )
    return url.set(drivername="sqlite", database=_file_name(url.database or ""))


def _file_name(text: str) -> str:
    """Return the path of an SQLite file; refuse a URL with a slip, which would become one."""
    is_path = text.startswith((".", "/")) and not text.startswith("//")
    if not is_path and (show_address(text) != text or _LIKE_A_URL.match(text)):
        raise StoreError(
            f"store {show_address(text)!r} looks like a database URL with a slip; {_HOW}, or for "
            "a file of that name ./NAME."
        )
    return text


def open_engine(url: URL, *, create: bool) -> Engine:
    """Connect, check that the database is a store, and make the tables if it is empty.

    Raises:
        StoreError: It is of another program, damaged or newer; or it is absent and not ``create``.
        WorldError: It cannot be reached or written.
    """
    if url.get_backend_name() == "sqlite":
        _check_sqlite_file(url, create=create)
    with translated(url):
        engine = _new_engine(url if create else _readable(url))
    try:
        with translated(url):
            _check_or_fill(engine, url, create=create)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _check_or_fill(engine: Engine, url: URL, *, create: bool) -> None:
    """Make the tables of an empty database; refuse one of another program."""
    with engine.begin() as connection:
        tables = set(inspect(connection).get_table_names())
        if schema.MARKER_TABLE in tables:
            _check_version(connection.execute(select(schema.marker)).scalars().all(), url)
        elif tables:
            raise StoreError(
                f"store {show(url)} is a database of something else (it has a table "
                f"{sorted(tables)[0]!r}); give another file or database."
            )
        elif not create:
            raise StoreError(f"store {show(url)} is empty; run a study into it first.")
    if create:
        _use_write_ahead_log(engine)
    if schema.MARKER_TABLE not in tables:
        _create_tables(engine)
    elif create:
        upgrade_tables(engine)


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn the database driver's exceptions into a StoreError or a WorldError."""
    try:
        yield
    except ArgumentError as error:
        reason = hide_secrets(str(error), url.render_as_string(hide_password=False))
        raise StoreError(f"store {show(url)} cannot be opened: {reason}.") from error
    except UnicodeDecodeError as error:  # SQLite quotes the damaged bytes in its message
        raise _damaged(url, "text that is not UTF-8") from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        original = getattr(error, "orig", None) or error
        reason = str(original).strip().splitlines()[0] if str(original).strip() else str(error)
        reason = hide_secrets(reason, url.render_as_string(hide_password=False))
        if any(word in reason.lower() for word in _DAMAGE):
            raise _damaged(url, reason) from error
        raise WorldError(
            f"store {show(url)} cannot be used: {reason}; mend that and run the same command "
            "again, nothing that was stored is lost."
        ) from error


def _damaged(url: URL, reason: str) -> StoreError:
    return StoreError(
        f"store {show(url)} is not an antifragile store, or is damaged ({reason}); give "
        "another file, or restore it from a copy."
    )


def show(url: URL) -> str:
    """Return the URL for display: a plain path for SQLite, without secrets otherwise."""
    if url.get_backend_name() == "sqlite":
        return show_address(url.database or ":memory:")
    return show_address(url.render_as_string(hide_password=False))


def is_memory(url: URL) -> bool:
    """Whether the store lives in this process only."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def _readable(url: URL) -> URL:
    """Return a URL that opens a store in a read-only folder as immutable.

    Otherwise SQLite makes a file beside it, through which readers and writers are coordinated.
    """
    path = str(url.database)
    is_file = url.get_backend_name() == "sqlite" and not is_memory(url) and not url.query
    if not is_file or os.access(Path(path).parent, os.W_OK) or os.path.exists(f"{path}-wal"):
        return url
    return url.set(database=f"file:{quote(path)}", query={"immutable": "1", "uri": "true"})


def _new_engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if is_memory(url):
        arguments = {"check_same_thread": False}
        return create_engine(url, connect_args=arguments, poolclass=StaticPool)
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        # NORMAL survives any process kill; a power cut may lose the last transactions, which are
        # then computed again.
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    return engine


def _use_write_ahead_log(engine: Engine) -> None:
    """Let readers go on while one process writes; the file remembers it."""
    if engine.dialect.name == "sqlite" and not is_memory(engine.url):
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _check_sqlite_file(url: URL, *, create: bool) -> None:
    if is_memory(url):
        return
    path = Path(str(url.database))
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except PermissionError as error:
        raise WorldError(
            f"store {show(url)} cannot be reached: {error.strerror}; choose a folder you may enter."
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"store {show(url)} cannot be a file: {reason}.") from error
    if path.is_dir():
        raise StoreError(
            f"store {show(url)} is a folder; give the path of a file, as in {show(url)}/runs.db."
        )
    if path.exists():
        return
    if not create:
        raise StoreError(
            f"there is no store at {show(url)}; run a study with --store {show(url)} first."
        )
    make_folder(path.parent)


def _check_version(versions: Sequence[object], url: URL) -> None:
    version = versions[0] if len(versions) == 1 else None
    if not isinstance(version, int) or version < 1:
        raise StoreError(f"store {show(url)} is damaged: it does not say its schema version.")
    if version > schema.SCHEMA_VERSION:
        raise StoreError(
            f"store {show(url)} has schema version {version}, newer than this program's "
            f"{schema.SCHEMA_VERSION}; upgrade antifragile."
        )


def _create_tables(engine: Engine) -> None:
    """Make the tables and the marker in one transaction, safe when two processes do so at once."""
    with _alone(engine) as connection:
        if not inspect(connection).has_table(schema.MARKER_TABLE):
            schema.metadata.create_all(connection)
            connection.execute(schema.marker.insert().values(schema_version=schema.SCHEMA_VERSION))


def upgrade_tables(engine: Engine) -> None:
    """Add the tables and columns that the store of an older program lacks.

    Columns are added only where they may be null, so that older programs go on writing, and the
    first tables never: without one of them a store is damaged.
    """
    with engine.connect() as connection:
        if not _missing_tables(connection) and not _missing_columns(connection):
            return
    with _alone(engine) as connection:  # and look again: another process may have been faster
        schema.metadata.create_all(connection, tables=_missing_tables(connection))
        for column in _missing_columns(connection):
            kind = column.type.compile(engine.dialect)
            connection.exec_driver_sql(
                f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} {kind}"
            )


def _missing_tables(connection: Connection) -> list[Table]:
    known = {*inspect(connection).get_table_names(), *schema.FIRST_TABLES}
    return [table for table in schema.metadata.sorted_tables if table.name not in known]


def _missing_columns(connection: Connection) -> list[Column[Any]]:
    present = inspect(connection).get_multi_columns()
    known = {(table, column["name"]) for (_, table), found in present.items() for column in found}
    return [
        column
        for table in schema.metadata.sorted_tables
        for column in table.columns
        if column.nullable and (None, table.name) in present
        if (table.name, column.name) not in known
    ]


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that excludes other processes of this program."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite" and not is_memory(engine.url):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7206270)")
        yield connection
