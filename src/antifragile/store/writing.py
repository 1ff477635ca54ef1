"""Writing frozen records as rows of the database, within the caller's transaction.

A record that is written twice stays once. A trial's row holds the counts and checksums of what
belongs to it, and is written with it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from antifragile.config.specs.study import StudySpec
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.errors import StoreError
from antifragile.store.checksums import CHECKSUM, added, sealed
from antifragile.store.database import schema
from antifragile.store.records import DataFacts, Environment

logger = logging.getLogger(__name__)

Row = dict[str, Any]
CHUNK = 500  # rows or keys of one statement, below SQLite's limit on bound values
RESULT = ("meta_loops", "peak_correct", "peak_meta_loop", "final_correct", "test_correct")
"""Columns of a trial's result, null until it has one."""


def insert_new(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    """Insert the rows whose keys are not there yet."""
    module = sqlite if connection.dialect.name == "sqlite" else postgresql
    listed = list(rows)
    for start in range(0, len(listed), CHUNK):
        chunk = listed[start : start + CHUNK]
        connection.execute(module.insert(table).on_conflict_do_nothing(), chunk)


def update_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Replace rows by their primary keys; all have the same columns."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    where = [table.c[key] == bindparam(f"old_{key}") for key in keys]
    values: Row = {name: bindparam(f"new_{name}") for name in rows[0] if name not in keys}
    bound = [
        {f"old_{name}" if name in keys else f"new_{name}": value for name, value in row.items()}
        for row in rows
    ]
    connection.execute(table.update().where(*where).values(values), bound)


def put_study(connection: Connection, spec: StudySpec, data: DataFacts) -> None:
    """Add a study and its pending trials; nothing if it is there."""
    table = schema.studies
    if connection.execute(select(table).where(table.c.name == spec.name)).first() is None:
        row = {"name": spec.name, "spec": spec.canonical_json(), **asdict(data)}
        connection.execute(table.insert().values(row | {"created_at": utc_now()}))
        _seal_study(connection, spec.name)
    put_trials(connection, spec)


def replace_study(connection: Connection, spec: StudySpec) -> None:
    """Replace a study's spec and add the trials that it did not have."""
    table = schema.studies
    connection.execute(
        table.update().where(table.c.name == spec.name).values(spec=spec.canonical_json())
    )
    _seal_study(connection, spec.name)
    put_trials(connection, spec)


def _seal_study(connection: Connection, name: str) -> None:
    table = schema.studies
    rows = connection.execute(select(table).where(table.c.name == name)).mappings().all()
    update_rows(connection, table, sealed(table, map(dict, rows)))


def put_trials(connection: Connection, spec: StudySpec, numbers: Sequence[int] = ()) -> None:
    """Add the trials of a study that are not there, as pending.

    Args:
        connection: A writing transaction.
        spec: The study.
        numbers: Free numbers for the first of them; the database gives the others theirs.
    """
    table = schema.trials
    query = select(schema.studies.c.study_id).where(schema.studies.c.name == spec.name)
    study_id = connection.execute(query).scalar_one()
    names = (table.c.architecture, table.c.mode, table.c.trial)
    there = connection.execute(select(*names).where(table.c.study_id == study_id)).all()
    present = {tuple(row) for row in there}
    rows = [
        {"study_id": study_id, "architecture": name, "mode": trial.mode, "trial": trial.trial}
        for trial in spec.trial_specs()
        for name in [trial.architecture.name]
        if (name, trial.mode, trial.trial) not in present
    ]
    named = [row | {"trial_id": number} for row, number in zip(rows, numbers, strict=False)]
    for part in (named, rows[len(named) :]):
        if part:
            connection.execute(table.insert(), part)
    if rows:
        query = select(table).where(table.c.study_id == study_id, table.c.checksum.is_(None))
        new = [dict(row) | _EMPTY for row in connection.execute(query).mappings()]
        update_rows(connection, table, sealed(table, new))


_EMPTY = {"n_records": 0, "environment_ids": "", "records_checksum": 0, "robustness_checksum": 0}


def put_environment(connection: Connection, environment: Environment) -> str:
    """Add an environment; returns its key."""
    key = environment.environment_id
    row = {"environment_id": key, **asdict(environment)}
    insert_new(connection, schema.environments, [row])
    return key


def put_progress(
    connection: Connection,
    records: Mapping[int, Sequence[MetaLoopRecord]],
    results: Mapping[int, TrialResult],
    environment: Environment,
    *,
    study: str,
    may_mix: bool,
) -> None:
    """Add meta-loop records and results, by trial.

    Args:
        connection: A transaction that excludes other writers of the study.
        records: Records; where one that is there already comes out differently, it and all
            later ones are replaced, and the trial is no longer finished.
        results: Results of trials whose records are there, or come with them.
        environment: The conditions under which they were computed.
        study: Name of the study of all these trials.
        may_mix: Whether a trial may have records of several environments.

    Raises:
        StoreError: Something disagrees with what is stored; nothing of this call is written.
    """
    given = {number: group for number, group in records.items() if group}
    trials = _trial_rows(connection, [*given, *results], study)
    if given:
        key = put_environment(connection, environment)
        for number, group in given.items():
            trials[number] = _with_records(connection, trials[number], group, key, may_mix=may_mix)
    for number, result in results.items():
        trials[number] = _with_result(connection, trials[number], result)
    update_rows(connection, schema.trials, sealed(schema.trials, trials.values()))


def _trial_rows(connection: Connection, numbers: Sequence[int], study: str) -> dict[int, Row]:
    trials, studies = schema.trials, schema.studies
    found: dict[int, Row] = {}
    for start in range(0, len(numbers), CHUNK):
        wanted = trials.c.trial_id.in_(numbers[start : start + CHUNK])
        query = select(trials).join(studies).where(wanted, studies.c.name == study)
        found |= {row["trial_id"]: dict(row) for row in connection.execute(query).mappings()}
    if missing := [number for number in numbers if number not in found]:
        raise StoreError(f"study {study!r} has no trial of number {missing[0]} in this store.")
    return found


def _with_records(
    connection: Connection, trial: Row, group: Sequence[MetaLoopRecord], key: str, *, may_mix: bool
) -> Row:
    """Write the records of one trial; return its row with them counted."""
    table, number = schema.meta_loops, trial["trial_id"]
    known = [known for known in trial["environment_ids"].split(",") if known]
    if not may_mix and known not in ([], [key]):
        raise StoreError(
            f"{_name(trial)} has records that were computed under other conditions, so the new "
            "ones do not belong to it; nothing was written."
        )
    rows = [{"trial_id": number, "environment_id": key, **record_values(one)} for one in group]
    stored = _stored_records(connection, trial, min(row["meta_loop"] for row in rows))
    new = [row for row in rows if row["meta_loop"] not in stored]
    if any(_is_another(row, stored.get(row["meta_loop"])) for row in rows):
        logger.warning(
            "%s came out differently when meta-loop %d was run again; its stored records from "
            "there on are replaced.",
            *(_name(trial), min(stored)),
        )
        return _replaced(connection, trial, rows, [*stored])
    insert_new(connection, table, new)
    checksums = [row["checksum"] for row in sealed(table, new)]
    best = max((row["validation_correct"] for row in new), default=0)
    return trial | {
        "n_records": trial["n_records"] + len(new),
        "last_record": max(trial["last_record"] or 0, *(row["meta_loop"] for row in rows)),
        "best_correct": max(trial["best_correct"] or 0, best),
        "environment_ids": ",".join(sorted({*known, key})),
        "records_checksum": added(trial["records_checksum"], *checksums),
    }


def _replaced(connection: Connection, trial: Row, rows: Sequence[Row], stale: Sequence[int]) -> Row:
    """Write records in place of all from the first of them on, and drop the trial's result."""
    table, number = schema.meta_loops, trial["trial_id"]
    connection.execute(
        table.delete().where(table.c.trial_id == number, table.c.meta_loop >= min(stale))
    )
    insert_new(connection, table, rows)
    connection.execute(schema.robustness.delete().where(schema.robustness.c.trial_id == number))
    return counted(connection, trial) | dict.fromkeys(RESULT) | {"finished_at": None}


def counted(connection: Connection, trial: Row) -> Row:
    """The row of a trial with all that it says about its records and its robustness."""
    parts = []
    for table in (schema.meta_loops, schema.robustness):
        query = select(table).where(table.c.trial_id == trial["trial_id"])
        found = connection.execute(query).mappings()
        parts.append(sealed(table, map(dict, found)))
    records, damaged = parts
    return trial | {
        "n_records": len(records),
        "last_record": max((row["meta_loop"] for row in records), default=None),
        "best_correct": max((row["validation_correct"] for row in records), default=None),
        "environment_ids": ",".join(sorted({row["environment_id"] for row in records})),
        "records_checksum": added(*(row["checksum"] for row in records)),
        "robustness_checksum": added(*(row["checksum"] for row in damaged)),
    }


def seal(connection: Connection) -> None:
    """Count the records of every trial anew, and give every row its checksum."""
    for table in schema.metadata.sorted_tables:
        if CHECKSUM not in table.c:
            continue
        rows = [dict(row) for row in connection.execute(select(table)).mappings()]
        if table is schema.trials:
            rows = [counted(connection, row) for row in rows]
        for start in range(0, len(rows), CHUNK):
            update_rows(connection, table, sealed(table, rows[start : start + CHUNK]))


def _stored_records(connection: Connection, trial: Row, first: int) -> dict[int, Row]:
    """The stored records of a trial from a meta-loop on, by meta-loop."""
    if first > (trial["last_record"] or 0):
        return {}
    table = schema.meta_loops
    query = select(table).where(table.c.trial_id == trial["trial_id"], table.c.meta_loop >= first)
    return {row["meta_loop"]: dict(row) for row in connection.execute(query).mappings()}


def _is_another(row: Row, stored: Row | None) -> bool:
    """Whether a record that was computed again differs from the stored one."""
    if stored is None:
        return False
    return any(row[name] != stored[name] for name in row if name != "seconds")


def _with_result(connection: Connection, trial: Row, result: TrialResult) -> Row:
    """Write the robustness of a trial; return its row with the result.

    An extended trial has another LKG, so the robustness of the old one is dropped.
    """
    values = asdict(result)
    damaged = [{"trial_id": trial["trial_id"], **row} for row in values.pop("robustness")]
    recorded = (trial["n_records"], trial["last_record"], trial["best_correct"])
    if recorded != (result.meta_loops, result.meta_loops, result.peak_correct):
        raise StoreError(
            f"{_name(trial)} has a result of {result.meta_loops} meta-loops and "
            f"{result.peak_correct} correct samples, but {recorded[0]} records and {recorded[2]} "
            "correct samples in the store, so they do not belong together; nothing was written."
        )
    before = trial["meta_loops"]
    if before is not None and before >= result.meta_loops:
        if any(trial[name] != value for name, value in values.items()):
            raise StoreError(f"{_name(trial)} has another result already; nothing was written.")
        return trial
    table = schema.robustness
    connection.execute(table.delete().where(table.c.trial_id == trial["trial_id"]))
    insert_new(connection, table, damaged)
    total = added(*(row["checksum"] for row in sealed(table, damaged)))
    return trial | values | {"finished_at": utc_now(), "robustness_checksum": total}


def _name(trial: Row) -> str:
    return f"trial {trial['trial']} of {trial['architecture']} {trial['mode']}"


def record_values(record: MetaLoopRecord) -> dict[str, Any]:
    """The fields of a record; a loss that is not finite is None."""
    values = dict(vars(record))  # a tenth of the time of `asdict`, and there are many
    if not math.isfinite(record.train_loss):
        values["train_loss"] = None
    return values


def utc_now() -> str:
    """Return the time in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
