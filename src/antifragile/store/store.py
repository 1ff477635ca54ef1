"""The store: frozen records in, frozen records and frames out, every write one transaction.

Many studies by name live in one store, and several processes may use it at once. Writing the
same record twice leaves one: a trial that is replayed from an older checkpoint changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from sqlalchemy import Connection, Row, Select, inspect

from antifragile.config.study import StudySpec
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.errors import StoreError, nearest
from antifragile.store import queries, schema, writing
from antifragile.store.connection import (
    is_memory,
    open_engine,
    parse_store_url,
    show,
    translated,
    upgrade_tables,
)
from antifragile.store.reading import (
    Columns,
    look_up,
    read_columns,
    read_fields,
    read_study,
    read_trial,
)
from antifragile.store.records import (
    DataFacts,
    Environment,
    StoredProgress,
    StoredStudy,
    StoredTrial,
)

DEFAULT_STORE = "sqlite:///antifragile.db"


class Store:
    """One open store.

    Args:
        url: A database URL, or the path of an SQLite file.
        create: Make it when it is absent or empty.

    Raises:
        StoreError: It is of another program, damaged, newer, or absent and not to be created.
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
        """The address with which a worker process opens the same store."""
        if self.url.get_backend_name() == "sqlite" and not self.url.query:
            return str(self.url.database)  # a URL does not hold every file name
        return self.url.render_as_string(hide_password=False)

    def upgrade(self) -> None:
        """Add the tables and columns that an older program of this schema version did not have.

        A store opened to be created has them; one opened to be read is left as it is.
        """
        with translated(self.url):
            upgrade_tables(self._engine)

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
            writing.put_study(connection, spec, data)

    def extend_study(self, spec: StudySpec) -> None:
        """Replace a study's spec by a larger one and add its new trials, in one transaction."""
        with self._transaction() as connection:
            writing.replace_study(connection, spec)

    def study_names(self) -> list[str]:
        """All studies, in the order they were added."""
        return [str(row.name) for row in self._rows(queries.study_names())]

    def find_study(self, name: str) -> StoredStudy | None:
        """The study of this name, or None.

        Raises:
            StoreError: Its stored spec cannot be read.
        """
        rows = self._rows(queries.study_by_name(name))
        return read_study(rows[0], self) if rows else None

    def study(self, name: str | None = None) -> StoredStudy:
        """The study of this name, or the only one.

        Raises:
            StoreError: No such study, or no name and not exactly one study.
        """
        chosen = self._choose(name, self.study_names())
        found = self.find_study(chosen)
        if found is None:
            raise StoreError(
                f"store {self} lists a study {chosen!r} but does not hold it, so it is damaged; "
                "restore it from a copy."
            )
        return found

    # Trials and records

    def trials(self, study: str) -> list[StoredTrial]:
        """Every trial of a study with its progress, in planned order."""
        return [read_trial(row, self) for row in self._rows(queries.trials_with_progress(study))]

    def progress(self, study: str, meta_loops: int) -> StoredProgress:
        """Measure the progress of a study of so many meta-loops by three cheap queries."""
        with self._transaction() as connection:
            best = connection.execute(queries.best_bounty(study)).first()
            finished = connection.execute(queries.n_finished(study, meta_loops)).scalar_one()
            recorded = connection.execute(queries.records_by_architecture(study)).all()
        return StoredProgress(
            n_finished=finished,
            records={str(name): int(n) for name, n in recorded},
            best=None if best is None else (best[0], best[1], best[2]),
        )

    def add_records(
        self, records: Mapping[int, Sequence[MetaLoopRecord]], environment: Environment
    ) -> None:
        """Write meta-loop records, by trial, in one transaction."""
        with self._transaction() as connection:
            writing.put_records(connection, records, environment)

    def finish_trials(
        self,
        results: Mapping[int, TrialResult],
        records: Mapping[int, Sequence[MetaLoopRecord]],
        environment: Environment,
    ) -> None:
        """Write trials' last records and their results in one transaction."""
        with self._transaction() as connection:
            writing.put_records(connection, records, environment)
            for trial_id, result in results.items():
                writing.put_result(connection, trial_id, result)

    def environments(self, study: str, modes: Sequence[str] | None = None) -> list[Environment]:
        """Every environment that computed a record of this study, or of some of its modes."""
        rows = self._rows(queries.environments(study, modes))
        return [read_fields(Environment, row) for row in rows]

    def record_columns(self, study: str) -> Columns:
        """Every meta-loop record with its trial and environment, an array per column, in order.

        Columns, not rows: a study has hundreds of thousands of records.

        Returns:
            study, architecture, mode, trial, the fields of `MetaLoopRecord`, n_validation and
            the fields of `Environment`; nothing at all without records.

        Raises:
            StoreError: A value is not what the schema says.
        """
        with self._transaction() as connection:
            # Records first: what they refer to is there by the time it is asked for.
            present = {c["name"] for c in inspect(connection).get_columns("meta_loops")}
            rows = connection.execute(queries.records(study, present)).all()
            trials = connection.execute(queries.trial_names(study)).all()
            used = connection.execute(queries.environments(study)).all()
            about = connection.execute(queries.study_by_name(study)).first()
        if not rows or about is None:
            return {}
        records = read_columns(schema.meta_loops, rows, self)
        trial_ids, environment_ids = records.pop("trial_id"), records.pop("environment_id")
        by_trial = read_columns(schema.trials, trials, self)
        by_environment = read_columns(schema.environments, used, self)
        return {
            "study": np.full(len(rows), about.name, dtype=object),
            **look_up(by_trial, "trial_id", trial_ids, self),
            **records,
            "n_validation": np.full(len(rows), read_study(about, self).data.n_validation),
            **look_up(by_environment, "environment_id", environment_ids, self),
        }

    def robustness_rows(self, study: str) -> list[dict[str, Any]]:
        """Every draw of damage with its trial, as flat rows, in order."""
        return [dict(row._mapping) for row in self._rows(queries.robustness(study))]

    # Inside

    def _choose(self, name: str | None, names: Sequence[str], kind: str = "") -> str:
        """Return the name if it is one of ``names``, or the only one for None."""
        if name is None and len(names) != 1:
            listed = ", ".join(map(repr, names)) or "none"
            raise StoreError(
                f"store {self} has {len(names)} {kind}studies ({listed}); choose by --study."
            )
        chosen = names[0] if name is None else name
        if chosen not in names:
            hint = nearest(chosen, names) if names else "it has none."
            raise StoreError(f"store {self} has no {kind}study {chosen!r}; {hint}")
        return chosen

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._transaction() as connection:
            return connection.execute(query).all()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with translated(self.url), self._engine.begin() as connection:
            yield connection
