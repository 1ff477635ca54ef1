"""Faults of a database in this package's words, and patience with a server that restarts."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from antifragile._shown import hide_secrets
from antifragile.errors import StoreError, WorldError
from antifragile.store.database.address import show

logger = logging.getLogger(__name__)

_OUTAGE_S, _RETRY_S = 60.0, 1.0  # how long a server that restarts is waited for
_DAMAGE = (
    *("malformed", "not a database", "corrupt", "file is encrypted", "unsupported file format"),
    *("no such table", "no such column", "could not decode"),
)


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn the database driver's exceptions into a StoreError or a WorldError."""
    try:
        yield
    except ArgumentError as error:
        reason = hide_secrets(str(error), url.render_as_string(hide_password=False))
        raise StoreError(f"store {show(url)} cannot be opened: {reason}.") from error
    except UnicodeDecodeError as error:  # SQLite quotes the damaged bytes in its message
        raise file_damaged(url, "text that is not UTF-8") from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        original = getattr(error, "orig", None) or error
        reason = str(original).strip().splitlines()[0] if str(original).strip() else str(error)
        reason = hide_secrets(reason, url.render_as_string(hide_password=False))
        if any(word in reason.lower() for word in _DAMAGE):
            raise file_damaged(url, reason) from error
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
    if not type(error.orig).__module__.startswith("psycopg"):
        return False
    state = getattr(error.orig, "sqlstate", None)
    is_of_connection = state is None or state.startswith(("08", "57P"))
    return is_of_connection and isinstance(error, OperationalError)


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


def file_damaged(url: URL, reason: str) -> StoreError:
    """An error about a database that is no store, or is damaged."""
    return StoreError(
        f"store {show(url)} is not an antifragile store, or is damaged ({reason}); give "
        "another file, or restore it from a copy."
    )
