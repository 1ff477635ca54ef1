"""Writing frozen records as rows of the database, within the caller's transaction.

Only what is not there yet is inserted: a record that is written twice stays once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite

from antifragile.config.study import StudySpec
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.store import schema
from antifragile.store.records import DataFacts, Environment

_INSERT_CHUNK = 500  # rows of one statement, below SQLite's limit on bound values


def insert_new(connection: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Insert the rows whose keys are not there yet."""
    module = sqlite if connection.dialect.name == "sqlite" else postgresql
    listed = list(rows)
    for start in range(0, len(listed), _INSERT_CHUNK):
        chunk = listed[start : start + _INSERT_CHUNK]
        connection.execute(module.insert(table).on_conflict_do_nothing(), chunk)


def put_study(connection: Connection, spec: StudySpec, data: DataFacts) -> None:
    """Add a study and its pending trials; nothing if it is there."""
    row = {
        "name": spec.name,
        "spec": spec.canonical_json(),
        **asdict(data),
        "created_at": utc_now(),
    }
    insert_new(connection, schema.studies, [row])
    _put_trials(connection, spec)


def replace_study(connection: Connection, spec: StudySpec) -> None:
    """Replace a study's spec and add the trials that it did not have."""
    table = schema.studies
    connection.execute(
        table.update().where(table.c.name == spec.name).values(spec=spec.canonical_json())
    )
    _put_trials(connection, spec)


def put_environment(connection: Connection, environment: Environment) -> str:
    """Add an environment; returns its key."""
    key = environment.environment_id
    row = {"environment_id": key, **asdict(environment)}
    insert_new(connection, schema.environments, [row])
    return key


def put_records(
    connection: Connection,
    records: Mapping[int, Sequence[MetaLoopRecord]],
    environment: Environment,
) -> None:
    """Add meta-loop records, by trial."""
    key = put_environment(connection, environment)
    rows = [
        {"trial_id": trial_id, "environment_id": key, **record_values(record)}
        for trial_id, group in records.items()
        for record in group
    ]
    insert_new(connection, schema.meta_loops, rows)


def put_result(connection: Connection, trial_id: int, result: TrialResult) -> None:
    """Write a trial's result in place of the one it had.

    An extended trial has another LKG, so the robustness of the old one is dropped.
    """
    values = asdict(result)
    damaged = values.pop("robustness")
    trials, robustness = schema.trials, schema.robustness
    where = trials.c.trial_id == trial_id
    connection.execute(trials.update().where(where).values(**values, finished_at=utc_now()))
    connection.execute(robustness.delete().where(robustness.c.trial_id == trial_id))
    insert_new(connection, robustness, [{"trial_id": trial_id, **row} for row in damaged])


def record_values(record: MetaLoopRecord) -> dict[str, Any]:
    """The fields of a record; a loss that is not finite is None."""
    values = asdict(record)
    if not math.isfinite(record.train_loss):
        values["train_loss"] = None
    return values


def utc_now() -> str:
    """Return the time in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _put_trials(connection: Connection, spec: StudySpec) -> None:
    study_id = connection.execute(
        select(schema.studies.c.study_id).where(schema.studies.c.name == spec.name)
    ).scalar_one()
    rows = [
        {
            "study_id": study_id,
            "architecture": trial.architecture.name,
            "mode": trial.mode,
            "trial": trial.trial,
        }
        for trial in spec.trial_specs()
    ]
    insert_new(connection, schema.trials, rows)
