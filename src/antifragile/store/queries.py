"""What is asked of the database: one SELECT per question, built from the tables of `schema`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Select, func, literal, select

from antifragile.store import schema

_LOOPS, _TRIALS, _STUDIES = schema.meta_loops.c, schema.trials.c, schema.studies.c


def study_by_name(name: str) -> Select[Any]:
    """The study of this name."""
    return select(schema.studies).where(_STUDIES.name == name)


def study_names() -> Select[Any]:
    """All names, in the order the studies were added."""
    return select(_STUDIES.name).order_by(_STUDIES.study_id)


def trials_with_progress(study: str) -> Select[Any]:
    """Every trial with n_records, last and best_correct of its records, in planned order."""
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
    return (
        select(schema.trials, progress.c.n_records, progress.c.last, progress.c.best_correct)
        .select_from(schema.trials)
        .join(schema.studies)
        .outerjoin(progress, progress.c.trial_id == _TRIALS.trial_id)
        .where(_STUDIES.name == study)
        .order_by(_TRIALS.trial_id)
    )


def records_by_architecture(study: str) -> Select[Any]:
    """(architecture, number of records)."""
    return (
        select(_TRIALS.architecture, func.count())
        .select_from(schema.meta_loops)
        .join(schema.trials)
        .join(schema.studies)
        .where(_STUDIES.name == study)
        .group_by(_TRIALS.architecture)
    )


def n_finished(study: str, meta_loops: int) -> Select[Any]:
    """How many trials have a result of so many meta-loops."""
    return (
        select(func.count())
        .select_from(schema.trials)
        .join(schema.studies)
        .where(_STUDIES.name == study, _TRIALS.meta_loops >= meta_loops)
    )


def best_bounty(study: str) -> Select[Any]:
    """(bounty, architecture, mode) of the best record."""
    return (
        select(_LOOPS.bounty, _TRIALS.architecture, _TRIALS.mode)
        .select_from(schema.meta_loops)
        .join(schema.trials)
        .join(schema.studies)
        .where(_STUDIES.name == study)
        .order_by(_LOOPS.bounty.desc())
        .limit(1)
    )


def environments(study: str, modes: Sequence[str] | None = None) -> Select[Any]:
    """Every environment that computed a record of this study, or of some of its modes."""
    table = schema.environments
    used = (
        select(_LOOPS.environment_id)
        .select_from(schema.meta_loops)
        .join(schema.trials)
        .join(schema.studies)
        .where(_STUDIES.name == study)
    )
    if modes is not None:
        used = used.where(_TRIALS.mode.in_(modes))
    return select(table).where(table.c.environment_id.in_(used)).order_by(table.c.environment_id)


def trial_names(study: str) -> Select[Any]:
    """(trial_id, architecture, mode, trial), in planned order."""
    return (
        select(_TRIALS.trial_id, _TRIALS.architecture, _TRIALS.mode, _TRIALS.trial)
        .select_from(schema.trials)
        .join(schema.studies)
        .where(_STUDIES.name == study)
        .order_by(_TRIALS.trial_id)
    )


def records(study: str, present: set[str]) -> Select[Any]:
    """Every meta-loop record, without what its trial and environment say, in order.

    Args:
        study: Its name.
        present: The table's columns in this database; an older one lacks some, which read null.
    """
    of_study = select(_TRIALS.trial_id).join(schema.studies).where(_STUDIES.name == study)
    return (
        select(*[_or_null(column, present) for column in schema.meta_loops.c])
        .where(_LOOPS.trial_id.in_(of_study))
        .order_by(_LOOPS.trial_id, _LOOPS.meta_loop)
    )


def robustness(study: str) -> Select[Any]:
    """Every draw of damage with its trial, in order."""
    damaged = schema.robustness.c
    return (
        select(
            _TRIALS.architecture,
            _TRIALS.mode,
            _TRIALS.trial,
            *[column for column in damaged if column.name != "trial_id"],
        )
        .select_from(schema.robustness)
        .join(schema.trials)
        .join(schema.studies)
        .where(_STUDIES.name == study)
        .order_by(_TRIALS.trial_id, damaged.damage, damaged.level, damaged.draw)
    )


def _or_null(column: Column[Any], present: set[str]) -> Any:
    return column if column.name in present else literal(None).label(column.name)
