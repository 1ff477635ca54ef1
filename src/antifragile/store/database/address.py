"""Addresses of stores: which database, which file, and whether it may be written."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from antifragile._files import make_folder
from antifragile._optional import require
from antifragile._shown import show_address
from antifragile.errors import StoreError, WorldError, nearest

_DIALECTS = ("sqlite", "postgresql")
_HOW = "write postgresql://USER:PASSWORD@HOST:PORT/NAME"
_LIKE_A_URL = re.compile(r"(postgres|mysql|mariadb|sqlite)\w*[+:/]|[A-Za-z][\w+.-]+:/", re.I)


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


def show(url: URL) -> str:
    """Return the URL for display: a plain path for SQLite, without secrets otherwise."""
    if url.get_backend_name() == "sqlite":
        return show_address(url.database or ":memory:")
    return show_address(url.render_as_string(hide_password=False))


def is_memory(url: URL) -> bool:
    """Whether the store lives in this process only."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def is_read_only(url: URL) -> bool:
    """Whether it is a file that is there and that this process may not write."""
    if url.get_backend_name() != "sqlite" or is_memory(url) or url.query:
        return False
    path = Path(str(url.database))
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def readable(url: URL) -> URL:
    """Return a URL that opens a store in a read-only folder as immutable.

    Otherwise SQLite makes a file beside it, through which readers and writers are coordinated.
    """
    path = str(url.database)
    is_file = url.get_backend_name() == "sqlite" and not is_memory(url) and not url.query
    if not is_file or os.access(Path(path).parent, os.W_OK) or os.path.exists(f"{path}-wal"):
        return url
    return url.set(database=f"file:{quote(path)}", query={"immutable": "1", "uri": "true"})


def file_identity(url: URL) -> tuple[int, int] | None:
    """Device and number of the file that has the store's path now; None where there is none."""
    if url.get_backend_name() != "sqlite" or is_memory(url) or url.query:
        return None
    try:
        found = os.stat(str(url.database))
    except OSError:
        return None
    return found.st_dev, found.st_ino


def check_sqlite_file(url: URL, *, create: bool) -> None:
    """Refuse a path that cannot be the file of a store; make the folder of a new one.

    Raises:
        StoreError: It is a folder, absent and not to be created, or has several names.
        WorldError: It cannot be reached.
    """
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
    if path.exists() and not path.is_file():
        raise StoreError(f"store {show(url)} is a device or a pipe; give the path of a file.")
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
