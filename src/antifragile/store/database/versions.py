"""Making the tables of a store, and bringing those of an older program up to date.

A store of version 1 has no checksums. It is read through temporary views that look like today's
tables, and left as it is; once it is opened to be written it becomes a store of today, in one
transaction, and older programs refuse it from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, Connection, Table, inspect

from antifragile.store.database import schema


def make_or_upgrade(connection: Connection, seal: Callable[[Connection], None]) -> None:
    """Make the tables of a new store; add what an older one lacks, and checksums to all of it.

    Columns are added only where they may be null, and the first tables never: without one of them
    a store is damaged.

    Args:
        connection: A transaction that excludes others of this kind: another process may have been
            faster.
        seal: Gives every row its checksum.
    """
    if not inspect(connection).has_table(schema.MARKER_TABLE):
        schema.metadata.create_all(connection)
        connection.execute(schema.marker.insert().values(schema_version=schema.SCHEMA_VERSION))
        return
    if not _missing_tables(connection) and not _missing_columns(connection):
        return
    schema.metadata.create_all(connection, tables=_missing_tables(connection))
    for column in _missing_columns(connection):
        kind = column.type.compile(connection.dialect)
        connection.exec_driver_sql(
            f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} {kind}"
        )
    seal(connection)
    connection.execute(schema.marker.update().values(schema_version=schema.SCHEMA_VERSION))


def has_checksums(connection: Connection) -> bool:
    """Tell whether the tables, whatever the marker says, are those of today."""
    return schema.trials.c.checksum.name in _columns_of(connection, schema.trials.name)


def view_statements(connection: Connection) -> list[str]:
    """SQL that shows the tables of an older store as today's; empty for a store of today."""
    there = {name: _columns_of(connection, name) for name in inspect(connection).get_table_names()}
    statements = []
    for table in schema.metadata.sorted_tables:
        lacking = [c for c in table.columns if c.name not in there.get(table.name, ())]
        if table.name in schema.FIRST_TABLES and table.name not in there:
            continue  # damaged: the query says so
        if lacking:
            present = [c.name for c in table.columns if c not in lacking]
            statements.append(_view(connection, table, present, lacking))
    return statements


def _view(
    connection: Connection, table: Table, present: list[str], lacking: list[Column[Any]]
) -> str:
    where = "main." if connection.dialect.name == "sqlite" else "public."
    nulls = [
        f"CAST(NULL AS {c.type.compile(connection.dialect)}) AS {c.name}"
        for c in lacking
        if table is not schema.trials or c.name not in _COUNTS
    ]
    if not present:
        return f"CREATE TEMPORARY VIEW {table.name} AS SELECT {', '.join(nulls)} WHERE 1 = 0"
    columns = [f"t.{name}" for name in present] + nulls
    source = f"{where}{table.name} AS t"
    if table is schema.trials:
        together = "group_concat" if where == "main." else "string_agg"
        separator = "" if where == "main." else ", ','"
        columns += [f"c.{name}" for name in _COUNTS]
        source += (
            " LEFT JOIN (SELECT trial_id, count(*) AS n_records, max(meta_loop) AS last_record, "
            "max(validation_correct) AS best_correct, "
            f"{together}(DISTINCT environment_id{separator}) AS environment_ids "
            f"FROM {where}meta_loops GROUP BY trial_id) AS c ON c.trial_id = t.trial_id"
        )
    return f"CREATE TEMPORARY VIEW {table.name} AS SELECT {', '.join(columns)} FROM {source}"


_COUNTS = ("n_records", "last_record", "best_correct", "environment_ids")


def _columns_of(connection: Connection, table: str) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns(table)}


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
