"""Reading rows of the database into frozen records, checked on the way.

SQLite keeps values of any type in any column, so types are checked against the schema, and rows
against their checksums; damage is reported in one sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Row, Table

from antifragile.config.specs.study import StudySpec
from antifragile.engine.records import TrialResult
from antifragile.errors import AntifragileError, SpecError, StoreError
from antifragile.store.checksums import (
    CHECKSUM,
    as_columns,
    is_checksum,
    row_checksums,
)
from antifragile.store.database import schema
from antifragile.store.records import DataFacts, Environment, StoredStudy, StoredTrial
from antifragile.store.writing import RESULT

_LARGEST = 2**53  # larger whole numbers are no counts
Record = TypeVar("Record", DataFacts, Environment)


class Checked(Protocol):
    """A store, as those see it who check what it holds; as text it is its address."""

    has_checksums: bool


def check_rows(table: Table, rows: Sequence[Row[Any]], store: Checked) -> None:
    """Check that values are what the schema says and rows agree with their checksums.

    Args:
        table: Their table; of columns that an older store lacks the rows have none.
        rows: Rows, with further columns or without.
        store: For messages.

    Raises:
        StoreError: One is not as it was written.
    """
    if not rows:
        return
    listed: list[Mapping[str, Any]] = [row._asdict() for row in rows]
    names = [column.name for column in table.columns if column.name in listed[0]]
    for name in names:
        check_column(table, name, [row[name] for row in listed], store)
    if CHECKSUM in names and store.has_checksums:
        found = row_checksums(table, as_columns(table, listed))
        written = [row[CHECKSUM] for row in listed]
        wrong = [row for row, a, b in zip(listed, found.tolist(), written, strict=True) if a != b]
        if wrong:
            key = next(iter(table.primary_key)).name
            raise damaged(store, f"the row of {key} {wrong[0][key]!r:.60} in table {table.name}")


def damaged(store: Checked, what: str) -> StoreError:
    """An error about something that does not agree with its checksum."""
    return StoreError(
        f"store {store} is damaged: {what} does not agree with its checksum; 'antifragile study "
        f"check {store}' says what can be run again."
    )


def check_column(table: Table, name: str, values: Sequence[object], store: Checked) -> None:
    """Check that the values of a column are of its type, whole numbers within bounds.

    Raises:
        StoreError: One is not.
    """
    column = table.c[name]
    kind = column.type.python_type
    allowed = (kind, int) if kind is float else (kind,)
    kinds = set(map(type, values))
    wrong = {k for k in kinds - {type(None)} if not issubclass(k, allowed)}
    if type(None) in kinds and not column.nullable:
        wrong.add(type(None))
    found = [value for value in values if type(value) in wrong] if wrong else []
    if int in kinds and not found and not is_checksum(table, name):
        whole: Any = values if kinds == {int} else [v for v in values if type(v) is int]
        found = [value for value in (min(whole), max(whole)) if abs(value) > _LARGEST]
    if found:
        raise StoreError(f"store {store} is damaged: a {name} is {found[0]!r:.60}.")


def read_names(table: Table, rows: Sequence[Row[Any]], store: Checked) -> list[str]:
    """Read the names of studies.

    Raises:
        StoreError: One is no text.
    """
    names = [row.name for row in rows]
    check_column(table, "name", names, store)
    return names


def read_fields(kind: type[Record], row: Row[Any]) -> Record:
    """Make a record whose fields have the names of columns."""
    return kind(**{field: getattr(row, field) for field in kind.__annotations__})


def read_study(row: Row[Any], store: Checked) -> StoredStudy:
    """Read a study from its row.

    Raises:
        StoreError: It is damaged.
    """
    check_rows(schema.studies, [row], store)
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


def read_trials(rows: Sequence[Row[Any]], store: Checked) -> list[StoredTrial]:
    """Read trials and their progress from rows of `queries.trials`.

    Raises:
        StoreError: One is damaged.
    """
    check_rows(schema.trials, rows, store)
    return [_read_trial(row, store) for row in rows]


def _read_trial(row: Row[Any], store: Checked) -> StoredTrial:
    numbers = {key: getattr(row, key) for key in RESULT}
    if row.meta_loops is not None and None in numbers.values():
        raise StoreError(f"store {store} is damaged: trial {row.trial_id} has no valid counts.")
    # An unbroken run from meta-loop 1 has as many records as its last number.
    recorded = row.n_records if row.n_records and row.n_records == row.last_record else 0
    return StoredTrial(
        trial_id=row.trial_id,
        architecture=row.architecture,
        mode=row.mode,
        trial=row.trial,
        recorded_meta_loops=recorded,
        best_correct=row.best_correct,
        result=None if row.meta_loops is None else TrialResult(**numbers),
    )


def read_environments(
    rows: Sequence[Row[Any]], wanted: Iterable[str], store: Checked
) -> dict[str, Environment]:
    """Read environments by their keys, which are hashes of their fields.

    Raises:
        StoreError: A wanted one is missing, or one is not as it was written.
    """
    check_rows(schema.environments, rows, store)
    found = {row.environment_id: read_fields(Environment, row) for row in rows}
    for key, environment in found.items():
        if environment.environment_id != key:
            raise damaged(store, f"environment {key!r:.60}")
    if missing := sorted(set(wanted) - set(found)):
        raise StoreError(f"store {store} is damaged: it has no environment_id {missing[0]!r:.60}.")
    return found
