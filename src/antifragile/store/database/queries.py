"""The SELECT statements of the store, built from the tables of `schema`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, Table, func, select

from antifragile.store.database import schema

_LOOPS, _TRIALS, _STUDIES = schema.meta_loops.c, schema.trials.c, schema.studies.c


def study_by_name(name: str) -> Select[Any]:
    """Select the study of this name."""
    return select(schema.studies).where(_STUDIES.name == name)


def studies() -> Select[Any]:
    """Select all studies, in the order they were added."""
    return select(schema.studies).order_by(_STUDIES.study_id)


def study_names() -> Select[Any]:
    """Select all names, in the order the studies were added."""
    return select(_STUDIES.name).order_by(_STUDIES.study_id)


def trials(study: str | None) -> Select[Any]:
    """Select the trials of a study, or of all, with its name, in planned order."""
    found = select(schema.trials, _STUDIES.name.label("study")).select_from(schema.trials)
    return _in_order(found, study)


def environments(keys: Sequence[str]) -> Select[Any]:
    """Select environments by their keys."""
    table = schema.environments
    return select(table).where(table.c.environment_id.in_(keys)).order_by(table.c.environment_id)


def environment_ids(study: str, modes: Sequence[str] | None) -> Select[Any]:
    """Select the environment_ids of the trials of a study, or of some of its modes."""
    query = select(_TRIALS.environment_ids).distinct().select_from(schema.trials)
    chosen = _of_study(query, study)
    return chosen if modes is None else chosen.where(_TRIALS.mode.in_(modes))


def progress(study: str) -> Select[Any]:
    """Select (architecture, records, trials, meta_loops of the result), grouped by the last."""
    columns = (_TRIALS.architecture, func.sum(_TRIALS.n_records), func.count(), _TRIALS.meta_loops)
    query = _of_study(select(*columns).select_from(schema.trials), study)
    return query.group_by(_TRIALS.architecture, _TRIALS.meta_loops)


def best_trial(study: str) -> Select[Any]:
    """Select (best_correct, architecture, mode) of the best trial so far."""
    found = select(_TRIALS.best_correct, _TRIALS.architecture, _TRIALS.mode)
    query = _of_study(found.select_from(schema.trials), study)
    best = _TRIALS.best_correct.desc()
    return query.where(_TRIALS.best_correct.is_not(None)).order_by(best, _TRIALS.trial_id).limit(1)


def all_environments() -> Select[Any]:
    """Select every environment."""
    return select(schema.environments)


def records(study: str, first: int = 0, last: int | None = None) -> Select[Any]:
    """Select the meta-loop records of a study's trials from one number to another, in order."""
    query = _of_trials(schema.meta_loops, study).where(_LOOPS.trial_id >= first)
    chosen = query if last is None else query.where(_LOOPS.trial_id <= last)
    return chosen.order_by(_LOOPS.trial_id, _LOOPS.meta_loop)


def robustness(study: str) -> Select[Any]:
    """Select every draw of damage to the trials of a study, in order."""
    table = schema.robustness.c
    order = (table.trial_id, table.damage, table.level, table.draw)
    return _of_trials(schema.robustness, study).order_by(*order)


def _of_trials(table: Table, study: str) -> Select[Any]:
    """Select the rows of a table that belong to the trials of one study."""
    numbers = _of_study(select(_TRIALS.trial_id).select_from(schema.trials), study)
    return select(table).where(table.c.trial_id.in_(numbers))


def _of_study(query: Select[Any], study: str) -> Select[Any]:
    """Limit a query of trials to one study."""
    return query.join(schema.studies).where(_STUDIES.name == study)


def _in_order(query: Select[Any], study: str | None) -> Select[Any]:
    joined = query.join(schema.studies, _STUDIES.study_id == _TRIALS.study_id)
    chosen = joined if study is None else joined.where(_STUDIES.name == study)
    return chosen.order_by(_TRIALS.study_id, _TRIALS.trial_id)
