"""Opening a database, and turning its driver's errors into this package's."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from antifragile._files import make_folder
from antifragile._optional import require
from antifragile._shown import hide_secrets, show_address
from antifragile.errors import StoreError, WorldError, nearest
from antifragile.store.database import schema, versions

logger = logging.getLogger(__name__)

_BUSY_TIMEOUT_S = 60
_OUTAGE_S, _RETRY_S = 60.0, 1.0  # how long a server that restarts is waited for
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
        _check_sqlite_file(url, create=create)
    create = create and not is_read_only(url)
    with translated(url):
        engine = _new_engine(url if create else _readable(url))
    try:
        with translated(url):
            if not is_trusted:
                _check_structure(engine, url)
            _check_or_fill(engine, url, create=create, seal=seal)
    except BaseException:
        engine.dispose()
        raise
    return engine


def is_read_only(url: URL) -> bool:
    """Whether it is a file that is there and that this process may not write."""
    if url.get_backend_name() != "sqlite" or is_memory(url) or url.query:
        return False
    path = Path(str(url.database))
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


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
                raise _damaged(url, f"no table {missing[0]}")
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
                raise _damaged(url, str(said).splitlines()[-1])


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
        yield connection


@contextmanager
def exclusive_transaction(engine: Engine) -> Iterator[Connection]:
    """Open a writing transaction that excludes all others of this kind."""
    with writing_transaction(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7206270)")
        yield connection


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
        kind = _OutOfReach if _is_outage(error) else WorldError
        raise kind(
            f"store {show(url)} cannot be used: {reason}; mend that and run the same command "
            "again, nothing that was stored is lost."
        ) from error


class _OutOfReach(WorldError):
    """A database server that does not answer, perhaps only for a while."""


def _is_outage(error: Exception) -> bool:
    """Whether the connection to a server was lost, or none could be made."""
    if not isinstance(error, DBAPIError):
        return False
    is_server = type(error.orig).__module__.startswith("psycopg")
    is_lost = error.connection_invalidated or isinstance(error, OperationalError)
    return is_server and is_lost


def patiently(attempt: Callable[[], None]) -> None:
    """Do something with a database, again and again while its server does not answer.

    Raises:
        WorldError: It did not answer for a minute.
    """
    until, is_told = time.monotonic() + _OUTAGE_S, False
    while True:
        try:
            return attempt()
        except _OutOfReach as error:
            if time.monotonic() >= until:
                raise
            if not is_told:
                logger.warning("%s Trying again for %.0f s.", error, _OUTAGE_S)
            is_told = True
            time.sleep(_RETRY_S)


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
        _check_one_name(path, create=create)
        return
    if not create:
        raise StoreError(
            f"there is no store at {show(url)}; run a study with --store {show(url)} first."
        )
    make_folder(path.parent)


def _check_one_name(path: Path, *, create: bool) -> None:
    """Refuse to write a file of several names: SQLite would mix what is written by each."""
    if create and (names := path.stat().st_nlink) > 1:
        raise StoreError(
            f"store {path} is one file with {names} names (hard links), which SQLite cannot write "
            "safely; remove the others, or use a copy."
        )


def _check_version(versions: Sequence[object], url: URL) -> None:
    version = versions[0] if len(versions) == 1 else None
    if not isinstance(version, int) or version < 1:
        raise StoreError(f"store {show(url)} is damaged: it does not say its schema version.")
    if version > schema.SCHEMA_VERSION:
        raise StoreError(
            f"store {show(url)} has schema version {version}, newer than this program's "
            f"{schema.SCHEMA_VERSION}; upgrade antifragile."
        )
