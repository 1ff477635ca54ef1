"""Checking a whole store, and removing what is damaged in it, so that it can be run again.

Reading stops at the first damage; here all of it is listed. A trial that is not as it was written
loses its records and its result and is pending again, an ablation run or the list of an ablation
study is removed: `study run` and `ablate run` make them anew. A study's spec cannot be made anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, func, select

from antifragile.config.specs.study import StudySpec
from antifragile.errors import StoreError, UsageError
from antifragile.store import writing
from antifragile.store.columns import check_sums, read_columns
from antifragile.store.database import queries, schema
from antifragile.store.owner import OwnedKind
from antifragile.store.reading import check_rows, read_environments
from antifragile.store.store import Store

_OF_INDEX = ("missing from index", "wrong # of entries in index", "non-unique entry in index")


class Repair(StrEnum):
    """The way a damaged part of a store is mended."""

    TRIAL = "run the trial again"
    ABLATION = "run 'ablate run' again"
    INDEX = "make the indexes anew"
    REMOVE = "remove it"
    NONE = "restore a copy"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something in a store that is not as it was written.

    Args:
        where: The part, for people.
        what: The fault, in words.
        repair: The way it is mended.
        table: Its table.
        key: Its primary key there, or the trial of its records.
        study: The study it belongs to.
    """

    where: str
    what: str
    repair: Repair
    table: str = ""
    key: Any = None
    study: str = ""


def check_store(store: Store) -> list[Finding]:
    """Read all of a store and list what is damaged.

    Raises:
        StoreError: So damaged that it cannot be read at all.
    """
    with store.transaction() as connection:
        found = [*_structure(connection)]
        if any(finding.repair is Repair.NONE for finding in found):
            return found
        wrong = list(_environments(connection, store))
        keys = connection.execute(select(schema.environments.c.environment_id)).scalars()
        environments = set(keys) - {finding.key for finding in wrong}
        found += wrong
        found += _studies(connection, store, environments)
        found += _orphans(connection)
        found += _ablations(connection, store, environments)
    return found


def repair_store(store: Store, findings: Sequence[Finding]) -> Path | None:
    """Mend what can be mended; a file is copied before.

    Returns:
        The copy of an SQLite file.

    Raises:
        UsageError: A study is being run; or the store has no checksums, so that little is known.
    """
    if not store.has_checksums:
        raise UsageError(
            f"store {store} was written by an older program and has no checksums, so it cannot be "
            "repaired; restore a copy."
        )
    copy = _copied(store)
    if any(finding.repair is Repair.INDEX for finding in findings):
        with store.transaction(is_writing=True) as connection:
            connection.exec_driver_sql("REINDEX")
    trials = [finding for finding in findings if finding.repair is Repair.TRIAL]
    for study in sorted({finding.study for finding in trials}):
        keys = [f.key for f in trials if f.study == study and f.key is not None]
        with store.owned(OwnedKind.STUDY, study), store.transaction(is_writing=True) as connection:
            _remove_trials(connection, keys)
            query = select(schema.studies.c.spec).where(schema.studies.c.name == study)
            spec = StudySpec.from_json(connection.execute(query).scalar_one())
            writing.put_trials(connection, spec, sorted(keys))  # in the planned order again
    with store.transaction(is_writing=True) as connection:
        # Environments go after the runs that name them.
        for finding in sorted(findings, key=lambda finding: finding.repair is Repair.REMOVE):
            if finding.repair in (Repair.ABLATION, Repair.REMOVE):
                table = schema.metadata.tables[finding.table]
                column = next(iter(table.primary_key))
                connection.execute(delete(table).where(column == finding.key))
    return copy


def _copied(store: Store) -> Path | None:
    if store.url.get_backend_name() != "sqlite" or store.is_memory:
        return None
    path = Path(str(store.url.database))
    with store.transaction() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")
        copy = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%d-%H%M%S}")
        shutil.copyfile(path, copy)
    return copy


def _structure(connection: Connection) -> Iterator[Finding]:
    """The faults that SQLite itself finds in its file."""
    if connection.dialect.name != "sqlite":
        return
    for line in connection.exec_driver_sql("PRAGMA integrity_check").scalars():
        if line == "ok":
            continue
        is_index = any(words in line for words in _OF_INDEX)
        repair = Repair.INDEX if is_index else Repair.NONE
        yield Finding(where="the file", what=" ".join(str(line).split()), repair=repair)


def _environments(connection: Connection, store: Store) -> Iterator[Finding]:
    """Environments that are not what their keys say; trials that name them are found apart."""
    table = schema.environments
    for row in connection.execute(select(table)).all():
        try:
            read_environments([row], (), store)
        except StoreError as error:
            where = f"environment {row.environment_id!r:.60}"
            yield _finding(where, _reason(error), Repair.REMOVE, table, row.environment_id)


def _studies(connection: Connection, store: Store, environments: set[str]) -> Iterator[Finding]:
    table = schema.studies
    rows = connection.execute(select(table)).all()
    wrong = dict(_wrong_rows(table, rows, store))
    for row in rows:
        if row in wrong:
            where = f"study {row.name!r:.60}"
            yield _finding(where, wrong[row], Repair.NONE, table, row.study_id)
        else:
            spec = StudySpec.from_json(row.spec)
            yield from _trials(connection, spec, store, environments)


def _trials(
    connection: Connection, spec: StudySpec, store: Store, environments: set[str]
) -> Iterator[Finding]:
    """The trials of one study that are not as they were written."""
    rows = connection.execute(queries.trials(spec.name)).all()
    wrong = dict(_wrong_rows(schema.trials, rows, store))
    sound = [row for row in rows if row not in wrong]
    if store.has_checksums:
        for table, query, total in _BELONGING:
            wrong |= _wrong_sums(connection, sound, table, query(spec.name), total, store)
    for row in rows:
        lost = {key for key in (row.environment_ids or "").split(",") if key} - environments
        if row in wrong or lost:
            what = wrong.get(row, "the environment of its records is damaged")
            yield _trial_finding(spec, row, what)
    expected = {(t.architecture.name, t.mode, t.trial) for t in spec.trial_specs()}
    for row in rows:
        if row not in wrong and (row.architecture, row.mode, row.trial) not in expected:
            yield _trial_finding(spec, row, "its study has no such trial")
        expected.discard((row.architecture, row.mode, row.trial))
    for names in sorted(expected):
        where = f"trial {names[2]} of {names[0]} {names[1]} of study {spec.name!r}"
        yield Finding(where=where, what="it is missing", repair=Repair.TRIAL, study=spec.name)


_BELONGING = (
    (schema.meta_loops, queries.records, "records_checksum"),
    (schema.robustness, queries.robustness, "robustness_checksum"),
)


def _trial_finding(spec: StudySpec, row: Row[Any], what: str) -> Finding:
    return Finding(
        where=f"trial {row.trial} of {row.architecture} {row.mode} of study {spec.name!r}",
        what=what,
        repair=Repair.TRIAL,
        table=schema.trials.name,
        key=row.trial_id,
        study=spec.name,
    )


def _wrong_sums(
    connection: Connection,
    trials: Sequence[Row[Any]],
    table: Table,
    query: Any,
    total: str,
    store: Store,
) -> dict[Row[Any], str]:
    """Trials whose records, or whose robustness, are not as they were written, with the reason."""
    try:
        columns = read_columns(connection, table, query, store)
        check_sums(trials, table, columns, total, store)
    except StoreError:  # which trial is it?
        wrong = {}
        for trial in trials:
            of_trial = select(table).where(table.c.trial_id == trial.trial_id)
            try:
                columns = read_columns(connection, table, of_trial, store)
                check_sums([trial], table, columns, total, store)
            except StoreError:
                what = "records do" if table is schema.meta_loops else "robustness does"
                wrong[trial] = f"its {what} not agree with the checksum"
        return wrong
    return {}


def _ablations(connection: Connection, store: Store, environments: set[str]) -> Iterator[Finding]:
    for table, name in ((schema.ablation_studies, "study"), (schema.ablation_runs, "run")):
        rows = connection.execute(select(table)).all()
        wrong = dict(_wrong_rows(table, rows, store))
        if table is schema.ablation_runs:
            lost = [row for row in rows if row.environment_id not in environments]
            wrong |= dict.fromkeys(lost, "its environment is damaged")
        for row, reason in wrong.items():
            yield _finding(f"ablation {name} {row[0]!r}", reason, Repair.ABLATION, table, row[0])


def _orphans(connection: Connection) -> Iterator[Finding]:
    """Trials without a study, and records without a trial."""
    studies = select(schema.studies.c.study_id)
    lost = select(schema.trials.c.study_id).where(schema.trials.c.study_id.not_in(studies))
    for study_id in connection.execute(lost.distinct()).scalars():
        what = "it is missing, its trials are there"
        yield Finding(where=f"study of number {study_id}", what=what, repair=Repair.NONE)
    trials = select(schema.trials.c.trial_id)
    for table, *_ in _BELONGING:
        query = select(table.c.trial_id, func.count()).where(table.c.trial_id.not_in(trials))
        for trial_id, n in connection.execute(query.group_by(table.c.trial_id)):
            where = f"{n} rows of {table.name}"
            what = f"their trial, of number {trial_id}, is not there"
            yield _finding(where, what, Repair.REMOVE, table, trial_id)


def _wrong_rows(
    table: Table, rows: Sequence[Row[Any]], store: Store
) -> Iterable[tuple[Row[Any], str]]:
    """Rows that are not as they were written, with the reason."""
    try:
        check_rows(table, rows, store)
    except StoreError:
        for row in rows:
            try:
                check_rows(table, [row], store)
            except StoreError as error:
                yield row, _reason(error)


def _remove_trials(connection: Connection, keys: Iterable[Any]) -> None:
    for key in keys:
        for table in (schema.meta_loops, schema.robustness, schema.trials):
            connection.execute(delete(table).where(table.c.trial_id == key))


def _finding(where: str, what: str, repair: Repair, table: Table, key: Any) -> Finding:
    return Finding(where=where, what=what, repair=repair, table=table.name, key=key)


def _reason(error: StoreError) -> str:
    """The clause of a message that says what is wrong."""
    return str(error).partition("is damaged: ")[2].partition(";")[0].rstrip(".")
