"""Stage 8: one SQL schema (SQLite embedded, PostgreSQL shared); frozen records in and out."""

from antifragile.store.records import (
    DataFacts,
    Environment,
    StoredProgress,
    StoredStudy,
    StoredTrial,
    TrialStatus,
)
from antifragile.store.store import DEFAULT_STORE, Store

__all__ = [
    "DEFAULT_STORE",
    "DataFacts",
    "Environment",
    "Store",
    "StoredProgress",
    "StoredStudy",
    "StoredTrial",
    "TrialStatus",
]
