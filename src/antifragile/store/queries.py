"""The SELECT statements of the store, built from the tables of `schema`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, Table, func, literal, select

from antifragile.store import schema

_LOOPS, _TRIALS, _STUDIES = schema.meta_loops.c, schema.trials.c, schema.studies.c


def study_by_name(name: str) -> Select[Any]:
    """Select the study of this name."""
    return select(schema.studies).where(_STUDIES.name == name)


def study_names() -> Select[Any]:
    """Select all names, in the order the studies were added."""
    return select(_STUDIES.name).order_by(_STUDIES.study_id)


def trials_with_progress(study: str) -> Select[Any]:
    """Select every trial with n_records, last and best_correct of its records, in planned order."""
    progress = (
        select(
            _LOOPS.trial_id,
            func.count().label("n_records"),
            func.max(_LOOPS.meta_loop).label("last"),
            func.max(_LOOPS.validation_correct).label("best_correct"),
        )
        .group_by(_LOOPS.trial_id)
        .subquery()
    )
    columns = [progress.c.n_records, progress.c.last, progress.c.best_correct]
    trials = _of_study(select(schema.trials, *columns).select_from(schema.trials), study)
    joined = trials.outerjoin(progress, progress.c.trial_id == _TRIALS.trial_id)
    return joined.order_by(_TRIALS.trial_id)


def records_by_architecture(study: str) -> Select[Any]:
    """Select (architecture, number of records)."""
    count = select(_TRIALS.architecture, func.count())
    return _by_trial(count, schema.meta_loops, study).group_by(_TRIALS.architecture)


def n_finished(study: str, meta_loops: int) -> Select[Any]:
    """Select the number of trials that have a result of at least so many meta-loops."""
    count = _of_study(select(func.count()).select_from(schema.trials), study)
    return count.where(_TRIALS.meta_loops >= meta_loops)


def best_bounty(study: str) -> Select[Any]:
    """Select (bounty, architecture, mode) of the best record."""
    found = select(_LOOPS.bounty, _TRIALS.architecture, _TRIALS.mode)
    return _by_trial(found, schema.meta_loops, study).order_by(_LOOPS.bounty.desc()).limit(1)


def environments(study: str, modes: Sequence[str] | None = None) -> Select[Any]:
    """Select every environment that computed a record of this study, or of some of its modes."""
    table = schema.environments
    used = _by_trial(select(_LOOPS.environment_id), schema.meta_loops, study)
    if modes is not None:
        used = used.where(_TRIALS.mode.in_(modes))
    return select(table).where(table.c.environment_id.in_(used)).order_by(table.c.environment_id)


def trial_names(study: str) -> Select[Any]:
    """Select (trial_id, architecture, mode, trial), in planned order."""
    found = select(_TRIALS.trial_id, _TRIALS.architecture, _TRIALS.mode, _TRIALS.trial)
    return _of_study(found.select_from(schema.trials), study).order_by(_TRIALS.trial_id)


def records(study: str, present: set[str]) -> Select[Any]:
    """Select every meta-loop record, without the columns of its trial and environment, in order.

    Args:
        study: Its name.
        present: The table's columns in this database; an older one lacks some, which read null.
    """
    return (
        select(*[_or_null(column, present) for column in schema.meta_loops.c])
        .where(_LOOPS.trial_id.in_(_of_study(select(_TRIALS.trial_id), study)))
        .order_by(_LOOPS.trial_id, _LOOPS.meta_loop)
    )


def robustness(study: str) -> Select[Any]:
    """Select every draw of damage with its trial, in order."""
    table = schema.robustness
    values = [column for column in table.c if column.name != "trial_id"]
    found = select(_TRIALS.architecture, _TRIALS.mode, _TRIALS.trial, *values)
    return _by_trial(found, table, study).order_by(
        _TRIALS.trial_id, table.c.damage, table.c.level, table.c.draw
    )


def _by_trial(query: Select[Any], table: Table, study: str) -> Select[Any]:
    """Read from a table with a trial on every row, and only the rows of one study."""
    return _of_study(query.select_from(table).join(schema.trials), study)


def _of_study(query: Select[Any], study: str) -> Select[Any]:
    """Limit a query of trials to one study."""
    return query.join(schema.studies).where(_STUDIES.name == study)


def _or_null(column: Column[Any], present: set[str]) -> ColumnElement[Any]:
    return column if column.name in present else literal(None).label(column.name)
