"""The store: frozen records in, frozen records and frames out, every write one transaction.

Many studies by name live in one store, and several processes may use it at once. Writing the
same record twice leaves one: a trial that is replayed from an older checkpoint changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Connection, Row, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite

from antifragile.config import StudySpec
from antifragile.engine import MetaLoopRecord, TrialResult
from antifragile.errors import AntifragileError, SpecError, StoreError, nearest
from antifragile.store import schema
from antifragile.store.connection import (
    is_memory,
    open_engine,
    parse_store_url,
    show,
    translated,
)
from antifragile.store.records import (
    DataFacts,
    Environment,
    StoredProgress,
    StoredStudy,
    StoredTrial,
)

DEFAULT_STORE = "sqlite:///antifragile.db"
_RESULT = ("meta_loops", "peak_correct", "peak_meta_loop", "final_correct", "test_correct")
_LARGEST = 2**53  # whole numbers beyond it are no counts of ours
_INSERT_CHUNK = 500  # rows of one statement, below SQLite's limit on bound values


class Store:
    """One open store.

    Args:
        url: A database URL, or the path of an SQLite file.
        create: Make it when it is absent or empty.

    Raises:
        StoreError: It is not ours, damaged, newer, or absent and not to be created.
        WorldError: It cannot be reached or written.
    """

    def __init__(self, url: str = DEFAULT_STORE, *, create: bool = True) -> None:
        self.url = parse_store_url(url)
        self._engine = open_engine(self.url, create=create)

    def __str__(self) -> str:
        return show(self.url)

    @property
    def is_memory(self) -> bool:
        """Whether it lives in this process only, so that workers cannot reach it."""
        return is_memory(self.url)

    @property
    def worker_url(self) -> str:
        """What a worker process gives to open the same store."""
        if self.url.get_backend_name() == "sqlite" and not self.url.query:
            return str(self.url.database)  # a URL does not hold every file name
        return self.url.render_as_string(hide_password=False)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Studies

    def add_study(self, spec: StudySpec, data: DataFacts) -> None:
        """Add a study and its pending trials in one transaction; nothing if it is there."""
        with self._transaction() as connection:
            self._insert_new(
                connection,
                schema.studies,
                [
                    {
                        "name": spec.name,
                        "spec": spec.canonical_json(),
                        "data_sha256": data.sha256,
                        **{k: v for k, v in asdict(data).items() if k != "sha256"},
                        "created_at": _now(),
                    }
                ],
            )
            self._insert_trials(connection, spec)

    def extend_study(self, spec: StudySpec) -> None:
        """Replace a study's spec by a larger one and add its new trials, in one transaction."""
        with self._transaction() as connection:
            connection.execute(
                schema.studies.update()
                .where(schema.studies.c.name == spec.name)
                .values(spec=spec.canonical_json())
            )
            self._insert_trials(connection, spec)

    def study_names(self) -> list[str]:
        """All studies, in the order they were added."""
        with self._transaction() as connection:
            query = select(schema.studies.c.name).order_by(schema.studies.c.study_id)
            return [str(name) for name in connection.execute(query).scalars()]

    def find_study(self, name: str) -> StoredStudy | None:
        """The study of this name, or None.

        Raises:
            StoreError: Its stored spec cannot be read.
        """
        with self._transaction() as connection:
            row = connection.execute(
                select(schema.studies).where(schema.studies.c.name == name)
            ).first()
        return None if row is None else self._read_study(row)

    def study(self, name: str | None = None) -> StoredStudy:
        """The study of this name, or the only one.

        Raises:
            StoreError: No such study, or no name and not exactly one study.
        """
        names = self.study_names()
        if name is None and len(names) == 1:
            name = names[0]
        if name is None:
            listed = ", ".join(map(repr, names)) or "none"
            raise StoreError(
                f"store {self} has {len(names)} studies ({listed}); choose by --study."
            )
        found = self.find_study(name)
        if found is None:
            hint = nearest(name, names) if names else "the store is empty."
            raise StoreError(f"store {self} has no study {name!r}; {hint}")
        return found

    # Trials and records

    def trials(self, study: str) -> list[StoredTrial]:
        """Every trial of a study with how far it is, in the order they were planned."""
        loops, trials = schema.meta_loops.c, schema.trials.c
        progress = (
            select(
                loops.trial_id,
                func.count().label("n_records"),
                func.max(loops.meta_loop).label("last"),
                func.max(loops.validation_correct).label("best_correct"),
            )
            .group_by(loops.trial_id)
            .subquery()
        )
        query = (
            select(schema.trials, progress.c.n_records, progress.c.last, progress.c.best_correct)
            .select_from(schema.trials)
            .join(schema.studies)
            .outerjoin(progress, progress.c.trial_id == trials.trial_id)
            .where(schema.studies.c.name == study)
            .order_by(trials.trial_id)
        )
        with self._transaction() as connection:
            rows = connection.execute(query).all()
        return [self._read_trial(row) for row in rows]

    def progress(self, study: str, meta_loops: int) -> StoredProgress:
        """How far a study of so many meta-loops is, by three cheap queries, for displays."""
        loops, trials, studies = schema.meta_loops.c, schema.trials.c, schema.studies.c
        of_study = studies.name == study
        recorded = (
            select(trials.architecture, func.count())
            .select_from(schema.meta_loops)
            .join(schema.trials)
            .join(schema.studies)
            .where(of_study)
            .group_by(trials.architecture)
        )
        finished = (
            select(func.count())
            .select_from(schema.trials)
            .join(schema.studies)
            .where(of_study, trials.meta_loops >= meta_loops)
        )
        best = (
            select(loops.bounty, trials.architecture, trials.mode)
            .select_from(schema.meta_loops)
            .join(schema.trials)
            .join(schema.studies)
            .where(of_study)
            .order_by(loops.bounty.desc())
            .limit(1)
        )
        with self._transaction() as connection:
            row = connection.execute(best).first()
            return StoredProgress(
                n_finished=connection.execute(finished).scalar_one(),
                records={str(name): int(n) for name, n in connection.execute(recorded).all()},
                best=None if row is None else (row[0], row[1], row[2]),
            )

    def add_records(
        self, records: Mapping[int, Sequence[MetaLoopRecord]], environment: Environment
    ) -> None:
        """Write meta-loop records, by trial, in one transaction."""
        with self._transaction() as connection:
            self._put_records(connection, records, environment)

    def finish_trials(
        self,
        results: Mapping[int, TrialResult],
        records: Mapping[int, Sequence[MetaLoopRecord]],
        environment: Environment,
    ) -> None:
        """Write trials' last records and their results in one transaction."""
        with self._transaction() as connection:
            self._put_records(connection, records, environment)
            for trial_id, result in results.items():
                values = asdict(result)
                damaged = values.pop("robustness")
                connection.execute(
                    schema.trials.update()
                    .where(schema.trials.c.trial_id == trial_id)
                    .values(**values, finished_at=_now())
                )
                self._replace_robustness(connection, trial_id, damaged)

    def environments(self, study: str) -> list[Environment]:
        """Every environment that computed a record of this study."""
        query = (
            select(schema.environments)
            .where(
                schema.environments.c.environment_id.in_(
                    select(schema.meta_loops.c.environment_id)
                    .select_from(schema.meta_loops)
                    .join(schema.trials)
                    .join(schema.studies)
                    .where(schema.studies.c.name == study)
                )
            )
            .order_by(schema.environments.c.environment_id)
        )
        with self._transaction() as connection:
            rows = connection.execute(query).mappings().all()
        return [
            Environment(**{k: v for k, v in row.items() if k != "environment_id"}) for row in rows
        ]

    def record_rows(self, study: str) -> Iterator[dict[str, Any]]:
        """Every meta-loop record with its trial and environment, as flat rows, in order."""
        loops, trials = schema.meta_loops.c, schema.trials.c
        environments = [c for c in schema.environments.c if c.name != "environment_id"]
        query = (
            select(
                schema.studies.c.name.label("study"),
                trials.architecture,
                trials.mode,
                trials.trial,
                *[c for c in loops if c.name not in ("trial_id", "environment_id")],
                schema.studies.c.n_validation,
                *environments,
            )
            .select_from(schema.meta_loops)
            .join(schema.trials)
            .join(schema.studies)
            .join(schema.environments)
            .where(schema.studies.c.name == study)
            .order_by(trials.trial_id, loops.meta_loop)
        )
        check = self._row_checker(schema.trials, schema.meta_loops, schema.environments)
        with self._transaction() as connection:
            for row in connection.execute(query).mappings():
                check(row)
                yield dict(row)

    def robustness_rows(self, study: str) -> list[dict[str, Any]]:
        """Every draw of damage with its trial, as flat rows, in order."""
        trials, damaged = schema.trials.c, schema.robustness.c
        query = (
            select(
                trials.architecture,
                trials.mode,
                trials.trial,
                *[column for column in damaged if column.name != "trial_id"],
            )
            .select_from(schema.robustness)
            .join(schema.trials)
            .join(schema.studies)
            .where(schema.studies.c.name == study)
            .order_by(trials.trial_id, damaged.damage, damaged.level, damaged.draw)
        )
        with self._transaction() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    # Inside

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with translated(self.url), self._engine.begin() as connection:
            yield connection

    def _insert_trials(self, connection: Connection, spec: StudySpec) -> None:
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
        self._insert_new(connection, schema.trials, rows)

    def _put_records(
        self,
        connection: Connection,
        records: Mapping[int, Sequence[MetaLoopRecord]],
        environment: Environment,
    ) -> None:
        key = environment.environment_id
        row = {"environment_id": key, **asdict(environment)}
        self._insert_new(connection, schema.environments, [row])
        rows = [
            {"trial_id": trial_id, "environment_id": key, **_record_values(record)}
            for trial_id, group in records.items()
            for record in group
        ]
        self._insert_new(connection, schema.meta_loops, rows)

    def _replace_robustness(
        self, connection: Connection, trial_id: int, rows: Sequence[dict[str, Any]]
    ) -> None:
        """An extended trial has another LKG, so what the old one bore is dropped."""
        table = schema.robustness
        connection.execute(table.delete().where(table.c.trial_id == trial_id))
        self._insert_new(connection, table, [{"trial_id": trial_id, **row} for row in rows])

    def _insert_new(
        self, connection: Connection, table: Table, rows: Iterable[dict[str, Any]]
    ) -> None:
        """Insert the rows whose keys are not there yet."""
        module = sqlite if connection.dialect.name == "sqlite" else postgresql
        listed = list(rows)
        for start in range(0, len(listed), _INSERT_CHUNK):
            chunk = listed[start : start + _INSERT_CHUNK]
            connection.execute(module.insert(table).on_conflict_do_nothing(), chunk)

    def _row_checker(self, *tables: Table) -> Callable[[Mapping[Any, Any]], None]:
        """A check that rows hold what the schema says, which SQLite itself does not insist on."""
        kinds = {
            column.name: (column.type.python_type, column.nullable)
            for table in tables
            for column in table.columns
        }

        def check(row: Mapping[Any, Any]) -> None:
            for name, value in row.items():
                kind, nullable = kinds.get(name, (object, True))
                allowed = (kind, int) if kind is float else kind
                is_valid = isinstance(value, allowed) or (value is None and nullable)
                if not is_valid or (isinstance(value, int) and abs(value) > _LARGEST):
                    raise StoreError(f"store {self} is damaged: a {name} is {value!r:.60}.")

        return check

    def _read_study(self, row: Row[Any]) -> StoredStudy:
        self._row_checker(schema.studies)(row._mapping)
        if min(row.n_train, row.n_validation, row.n_test) < 1:
            raise StoreError(f"store {self} is damaged: study {row.name!r} has an empty split.")
        try:
            spec = StudySpec.from_json(row.spec)
        except (SpecError, ValueError, TypeError, RecursionError) as error:
            reason = str(error) if isinstance(error, AntifragileError) else "not readable"
            raise StoreError(
                f"store {self} is damaged: the spec of study {row.name!r} is wrong ({reason})."
            ) from error
        data = DataFacts(
            sha256=row.data_sha256,
            n_train=row.n_train,
            n_validation=row.n_validation,
            n_test=row.n_test,
            zero_r_validation=row.zero_r_validation,
            zero_r_test=row.zero_r_test,
        )
        return StoredStudy(spec=spec, data=data, created_at=row.created_at)

    def _read_trial(self, row: Row[Any]) -> StoredTrial:
        self._row_checker(schema.trials)(row._mapping)
        numbers = {key: getattr(row, key) for key in _RESULT}
        if not all(isinstance(number or 0, int) for number in (row.last, row.best_correct)) or (
            row.meta_loops is not None and None in numbers.values()
        ):
            raise StoreError(f"store {self} is damaged: trial {row.trial_id} has no valid counts.")
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


def _record_values(record: MetaLoopRecord) -> dict[str, Any]:
    values = asdict(record)
    if not math.isfinite(record.train_loss):
        values["train_loss"] = None
    return values


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
