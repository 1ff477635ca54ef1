"""Reading rows of the database into frozen records and columns, checked against the schema.

SQLite keeps values of any type in any column; a damaged file is noticed here and reported in one
sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Row, Table

from antifragile.config.study import StudySpec
from antifragile.engine.records import TrialResult
from antifragile.errors import AntifragileError, SpecError, StoreError
from antifragile.store import schema
from antifragile.store.records import DataFacts, Environment, StoredStudy, StoredTrial

_RESULT = ("meta_loops", "peak_correct", "peak_meta_loop", "final_correct", "test_correct")
_LARGEST = 2**53  # larger whole numbers are no counts
Columns = dict[str, np.ndarray]
Record = TypeVar("Record", DataFacts, Environment)


def check_row(table: Table, row: Mapping[Any, Any], store: object) -> None:
    """Raise StoreError unless every value is what its column in the schema says."""
    for column in table.columns:
        if column.name in row:
            _check_column(table, column.name, [row[column.name]], store)


def _check_column(table: Table, name: str, values: Sequence[object], store: object) -> None:
    """Check the set of types first: 588,000 rows take milliseconds."""
    column = table.c[name]
    kind = column.type.python_type
    allowed = (kind, int) if kind is float else (kind,)
    kinds = set(map(type, values))
    wrong = {k for k in kinds - {type(None)} if not issubclass(k, allowed)}
    if type(None) in kinds and not column.nullable:
        wrong.add(type(None))
    found = [value for value in values if type(value) in wrong] if wrong else []
    if int in kinds and not found:
        whole = [value for value in values if type(value) is int]
        found = [value for value in (min(whole), max(whole)) if abs(value) > _LARGEST]
    if found:
        raise StoreError(f"store {store} is damaged: a {name} is {found[0]!r:.60}.")


def read_fields(kind: type[Record], row: Row[Any]) -> Record:
    """Make a record whose fields have the names of columns."""
    return kind(**{field: getattr(row, field) for field in kind.__annotations__})


def read_study(row: Row[Any], store: object) -> StoredStudy:
    """Read a study from its row.

    Raises:
        StoreError: It is damaged.
    """
    check_row(schema.studies, row._mapping, store)
    if min(row.n_train, row.n_validation, row.n_test) < 1:
        raise StoreError(f"store {store} is damaged: study {row.name!r} has an empty split.")
    try:
        spec = StudySpec.from_json(row.spec)
    except (SpecError, ValueError, TypeError, RecursionError) as error:
        reason = str(error) if isinstance(error, AntifragileError) else "not readable"
        raise StoreError(
            f"store {store} is damaged: the spec of study {row.name!r} is wrong ({reason})."
        ) from error
    return StoredStudy(spec=spec, data=read_fields(DataFacts, row), created_at=row.created_at)


def read_trial(row: Row[Any], store: object) -> StoredTrial:
    """Read a trial and its progress from a row of `queries.trials_with_progress`.

    Raises:
        StoreError: It is damaged.
    """
    check_row(schema.trials, row._mapping, store)
    numbers = {key: getattr(row, key) for key in _RESULT}
    if not all(isinstance(number or 0, int) for number in (row.last, row.best_correct)) or (
        row.meta_loops is not None and None in numbers.values()
    ):
        raise StoreError(f"store {store} is damaged: trial {row.trial_id} has no valid counts.")
    # An unbroken run from meta-loop 1 has as many records as its last number.
    recorded = row.n_records if row.n_records and row.n_records == row.last else 0
    return StoredTrial(
        trial_id=row.trial_id,
        architecture=row.architecture,
        mode=row.mode,
        trial=row.trial,
        recorded_meta_loops=recorded,
        best_correct=row.best_correct,
        result=None if row.meta_loops is None else TrialResult(**numbers),
    )


def read_columns(table: Table, rows: Sequence[Row[Any]], store: object) -> Columns:
    """Turn rows into one array per column, in the order of the rows.

    Args:
        table: Table of these columns; rows may leave some out.
        rows: At least one.
        store: For messages.

    Returns:
        float64 for numbers with a point (null is NaN), int64 for whole ones; text, truth values
        and whole numbers that may be null as objects.

    Raises:
        StoreError: A value is not what its column in the schema says.
    """
    found: Columns = {}
    for name, values in zip(rows[0]._fields, zip(*rows, strict=True), strict=True):
        column = table.c[name]
        _check_column(table, name, values, store)
        kind = column.type.python_type
        is_number = kind is float or (kind is int and not column.nullable)
        found[name] = np.array(values, dtype=kind if is_number else object)
    return found


def look_up(columns: Columns, key: str, wanted: np.ndarray, store: object) -> Columns:
    """Find the row of ``columns`` for each key of ``wanted``; the key column is left out.

    Raises:
        StoreError: One is not there.
    """
    distinct, inverse = np.unique(wanted, return_inverse=True)
    places = {value: place for place, value in enumerate(columns[key].tolist())}
    if missing := [value for value in distinct.tolist() if value not in places]:
        raise StoreError(f"store {store} is damaged: it has no {key} {missing[0]!r:.60}.")
    rows = np.array([places[value] for value in distinct.tolist()])[inverse]
    return {name: values[rows] for name, values in columns.items() if name != key}
