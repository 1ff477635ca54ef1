"""Rows of the large tables as arrays, one per column, checked on the way.

A study has hundreds of thousands of records: they are fetched some thousand at a time, as the
driver's own tuples, because making an object of each would take most of the time and memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Boolean, Connection, Row, Select, Table

from antifragile.errors import StoreError
from antifragile.store.checksums import Columns, as_array, as_columns, row_checksums, sums_by
from antifragile.store.database import queries, schema
from antifragile.store.reading import (
    Checked,
    check_column,
    check_rows,
    damaged,
    read_environments,
)

TRIALS_AT_ONCE = 400  # tens of thousands of records
_ROWS_AT_ONCE = 5_000  # their values stay in the processor's cache


def read_columns(
    connection: Connection, table: Table, query: Select[Any], store: Checked
) -> Columns:
    """Read the rows of a query into one array per column, in their order.

    Args:
        connection: A transaction.
        table: Table of these columns; the query may leave some out.
        query: A query of this table alone.
        store: For messages.

    Returns:
        As `checksums.as_columns`; nothing at all without rows.

    Raises:
        StoreError: A value is not what its column in the schema says.
    """
    result = connection.execute(query)
    names = list(result.keys())
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    while rows := result.cursor.fetchmany(_ROWS_AT_ONCE):
        for name, raw in zip(names, zip(*rows, strict=True), strict=True):
            values = _as_booleans(raw) if isinstance(table.c[name].type, Boolean) else raw
            check_column(table, name, values, store)
            array = as_array(table, name, values)
            parts[name].append(_with_shared_texts(array) if array.dtype == object else array)
    result.close()
    return {name: np.concatenate(parts.pop(name)) for name in names if parts[name]}


def read_records(
    connection: Connection, study: str, n_validation: int, store: Checked
) -> Iterator[Columns]:
    """Yield a study's meta-loop records with their trials and environments, some trials at a time.

    Args:
        connection: A transaction.
        study: Its name.
        n_validation: Number of its validation samples.
        store: For messages.

    Raises:
        StoreError: A value is not what was written, for a part when it is its turn.
    """
    trials = connection.execute(queries.trials(study)).all()
    check_rows(schema.trials, trials, store)
    environments = _all_environments(connection, store)
    for start in range(0, len(trials), TRIALS_AT_ONCE):
        part = trials[start : start + TRIALS_AT_ONCE]
        query = queries.records(study, part[0].trial_id, part[-1].trial_id)
        columns = read_columns(connection, schema.meta_loops, query, store)
        if store.has_checksums:
            check_sums(part, schema.meta_loops, columns, "records_checksum", store)
        if not columns:
            continue
        trial_ids = columns.pop("trial_id")
        environment_ids = columns.pop("environment_id")
        yield {
            "study": np.full(len(trial_ids), study, dtype=object),
            **_look_up(_names_of(part), "trial_id", trial_ids, store),
            **columns,
            "n_validation": np.full(len(trial_ids), n_validation),
            **_look_up(environments, "environment_id", environment_ids, store),
        }


def read_robustness(connection: Connection, study: str, store: Checked) -> Columns:
    """Read every draw of damage with its trial, in order.

    Raises:
        StoreError: A value is not what was written.
    """
    trials = connection.execute(queries.trials(study)).all()
    check_rows(schema.trials, trials, store)
    columns = read_columns(connection, schema.robustness, queries.robustness(study), store)
    if store.has_checksums:
        check_sums(trials, schema.robustness, columns, "robustness_checksum", store)
    if not columns:
        return {}
    return _look_up(_names_of(trials), "trial_id", columns.pop("trial_id"), store) | columns


def check_sums(
    trials: Sequence[Row[Any]], table: Table, columns: Columns, total: str, store: Checked
) -> None:
    """Check that trials have all the rows that belong to them, as they were written.

    Args:
        trials: Rows of `queries.trials` that hold sums.
        table: `schema.meta_loops` or `schema.robustness`.
        columns: All its rows that belong to these trials.
        total: Column of the trials that holds the sum.
        store: For messages.

    Raises:
        StoreError: A row is missing, changed or one too many.
    """
    checksums = row_checksums(table, columns) if columns else np.empty(0, dtype=np.int64)
    keys = columns["trial_id"] if columns else checksums
    sums = sums_by(keys, checksums)
    for row in trials:
        if sums.pop(row.trial_id, 0) != row._mapping[total]:
            name = f"{row.architecture} {row.mode} {row.trial}"
            raise damaged(store, f"table {table.name} of trial {row.trial_id} ({name})")
    if sums:
        raise damaged(store, f"table {table.name} of trial {min(sums)}, which is not there,")


def _as_booleans(values: Sequence[Any]) -> Sequence[Any]:
    """SQLite keeps truth values as 0 and 1; other values stay, and are refused as damaged."""
    return [value == 1 if value in (0, 1) else value for value in values]


def _with_shared_texts(values: np.ndarray) -> np.ndarray:
    """Equal texts become one object; the driver makes one for every row."""
    codes, distinct = pd.factorize(values, use_na_sentinel=False)
    shared: np.ndarray = np.asarray(distinct, dtype=object)[codes]
    return shared


def _all_environments(connection: Connection, store: Checked) -> Columns:
    rows = connection.execute(queries.all_environments()).all()
    read_environments(rows, set(), store)
    return as_columns(schema.environments, [row._asdict() for row in rows])


def _names_of(trials: Sequence[Row[Any]]) -> Columns:
    """Number and names of trials, as columns."""
    names = ("trial_id", "architecture", "mode", "trial")
    rows = [{name: row._mapping[name] for name in names} for row in trials]
    return as_columns(schema.trials, rows)


def _look_up(columns: Columns, key: str, wanted: np.ndarray, store: Checked) -> Columns:
    """Find the row of ``columns`` for each key of ``wanted``; the key column is left out.

    Raises:
        StoreError: One is not there.
    """
    inverse, distinct = pd.factorize(wanted)
    known = columns[key].tolist() if key in columns else []  # a table without rows has none
    places = {value: place for place, value in enumerate(known)}
    if missing := [value for value in distinct.tolist() if value not in places]:
        raise StoreError(f"store {store} is damaged: it has no {key} {missing[0]!r:.60}.")
    rows = np.array([places[value] for value in distinct.tolist()])[inverse]
    return {name: values[rows] for name, values in columns.items() if name != key}
