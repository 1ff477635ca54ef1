"""The store: frozen records in, frozen records and frames out, every write one transaction.

Many studies by name live in one store, and several processes may use it at once; each study is
written by its owner alone (see `owner`). Writing the same record twice leaves one: a trial that is
replayed from an older checkpoint changes nothing. All that is read is checked (see `checksums`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any, Self

import numpy as np
from sqlalchemy import Connection, Row, Select

from antifragile.config.specs.study import StudySpec
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.errors import AntifragileError, StoreError, WorldError, nearest
from antifragile.store import writing
from antifragile.store.checksums import Columns
from antifragile.store.columns import read_records, read_robustness
from antifragile.store.database import queries, schema
from antifragile.store.database.address import file_identity, is_memory, parse_store_url, show
from antifragile.store.database.connection import (
    exclusive_transaction,
    open_engine,
    reading_transaction,
    store_version,
    writing_transaction,
)
from antifragile.store.database.faults import patiently, translated
from antifragile.store.owner import OwnedKind, Ownership, beating, claim, confirm, forget, release
from antifragile.store.reading import (
    damaged,
    read_environments,
    read_names,
    read_study,
    read_trials,
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
        create: Make it when it is absent or empty, and bring an older program's up to date.
        is_trusted: Leave out the search for lost rows, as who checks the whole store does.

    Attributes:
        has_checksums: Whether its rows have checksums; those of schema version 1 have none.

    Raises:
        StoreError: It is of another program, damaged, newer, or absent and not to be created.
        WorldError: It cannot be reached or written.
    """

    def __init__(
        self, url: str = DEFAULT_STORE, *, create: bool = True, is_trusted: bool = False
    ) -> None:
        self.url, self._is_trusted = parse_store_url(url), is_trusted
        self._open(create=create)

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
        """Make a store that was opened to be read, perhaps an older program's, one of today."""
        self._engine.dispose()
        self._open(create=True)

    def _open(self, *, create: bool) -> None:
        self._engine = open_engine(
            self.url, create=create, is_trusted=self._is_trusted, seal=writing.seal
        )
        with translated(self.url):
            self.has_checksums = store_version(self._engine) > 1
        self._file = file_identity(self.url)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Owners

    def claim(self, kind: OwnedKind, name: str, *, may_mix: bool = False) -> Ownership:
        """Become the one who writes a study.

        Args:
            kind: The kind of study.
            name: Its name; the study need not be there yet.
            may_mix: Whether records of other conditions may stand beside the ones written.

        Raises:
            StoreError: Another living process owns it.
        """
        with translated(self.url), exclusive_transaction(self._engine) as connection:
            return claim(connection, kind, name, may_mix=may_mix)

    @contextmanager
    def owned(self, kind: OwnedKind, name: str, *, may_mix: bool = False) -> Iterator[Ownership]:
        """Own a study for a while; arguments and errors as those of `claim`."""
        owner = self.claim(kind, name, may_mix=may_mix)
        beat = None if self.is_memory else lambda: self.confirm(owner)
        try:
            with beating(beat):
                yield owner
        finally:
            with suppress(AntifragileError):  # a claim of a process that ends is not believed
                self.release(owner)

    def confirm(self, owner: Ownership) -> None:
        """Renew the heartbeat of a claim; an outage of the database is not waited for.

        Raises:
            WorldError: Another process owns the study by now.
        """
        self._write_once(owner, lambda _: None)

    def release(self, owner: Ownership) -> None:
        """Give a study free."""
        forget(owner)
        with translated(self.url), writing_transaction(self._engine) as connection:
            release(connection, owner)

    # Studies

    def add_study(self, spec: StudySpec, data: DataFacts, *, owner: Ownership) -> None:
        """Add a study and its pending trials in one transaction; nothing if it is there."""
        self._write(owner, lambda connection: writing.put_study(connection, spec, data))

    def extend_study(self, spec: StudySpec, *, owner: Ownership) -> None:
        """Replace a study's spec by a larger one and add its new trials, in one transaction."""
        self._write(owner, lambda connection: writing.replace_study(connection, spec))

    def study_names(self) -> list[str]:
        """All studies, in the order they were added.

        Raises:
            StoreError: The name of one is damaged.
        """
        return read_names(schema.studies, self._rows(queries.study_names()), self)

    def studies(self) -> list[StoredStudy]:
        """All studies, in the order they were added.

        Raises:
            StoreError: One is damaged.
        """
        return [read_study(row, self) for row in self._rows(queries.studies())]

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
        return read_trials(self._rows(queries.trials(study)), self)

    def trials_by_study(self) -> dict[str, list[StoredTrial]]:
        """The trials of all studies, by the study's name; a study without any has no entry."""
        rows = self._rows(queries.trials(None))
        found = dict[str, list[StoredTrial]]()
        for row, trial in zip(rows, read_trials(rows, self), strict=True):
            found.setdefault(row.study, []).append(trial)
        return found

    def progress(self, study: str, meta_loops: int) -> StoredProgress:
        """Measure the progress of a study of so many meta-loops by two cheap queries."""
        with self.transaction() as connection:
            best = connection.execute(queries.best_trial(study)).first()
            counts = connection.execute(queries.progress(study)).all()
        numbers = [value for _, n, _, reached in counts for value in (n, reached)]
        if not all(value is None or isinstance(value, int | Decimal) for value in numbers):
            raise damaged(self, f"a count of study {study!r}")
        records = dict[str, int]()
        for architecture, n_records, _, _ in counts:
            records[architecture] = records.get(architecture, 0) + int(n_records or 0)
        return StoredProgress(
            n_finished=sum(n for *_, n, reached in counts if (reached or 0) >= meta_loops),
            records={name: n for name, n in records.items() if n},
            best=None if best is None else (best[0], best[1], best[2]),
        )

    def add_records(
        self,
        records: Mapping[int, Sequence[MetaLoopRecord]],
        environment: Environment,
        *,
        owner: Ownership,
    ) -> None:
        """Write meta-loop records, by trial, in one transaction.

        Raises:
            StoreError: A trial has records of other conditions, and the owner may not mix them.
            WorldError: The owner lost the study to another process; or the store is out of reach.
        """
        self.finish_trials({}, records, environment, owner=owner)

    def finish_trials(
        self,
        results: Mapping[int, TrialResult],
        records: Mapping[int, Sequence[MetaLoopRecord]],
        environment: Environment,
        *,
        owner: Ownership,
    ) -> None:
        """Write trials' last records and their results in one transaction.

        Raises:
            StoreError: As `add_records`, or a result disagrees with its trial's records.
            WorldError: As `add_records`.
        """

        def put(connection: Connection) -> None:
            writing.put_progress(
                connection, records, results, environment, study=owner.name, may_mix=owner.may_mix
            )

        self._write(owner, put)

    def environments(self, study: str, modes: Sequence[str] | None = None) -> list[Environment]:
        """Every environment that computed a record of this study, or of some of its modes."""
        with self.transaction() as connection:
            lists = connection.execute(queries.environment_ids(study, modes)).scalars().all()
            keys = {key for text in lists for key in (text or "").split(",") if key}
            rows = connection.execute(queries.environments(sorted(keys))).all()
        return list(read_environments(rows, keys, self).values())

    def record_columns(self, study: str) -> Columns:
        """Every meta-loop record with its trial and environment, an array per column, in order.

        Columns, not rows: a study has hundreds of thousands of records.

        Returns:
            study, architecture, mode, trial, the fields of `MetaLoopRecord` (NaN where one has no
            value), n_validation and the fields of `Environment`; nothing at all without records.

        Raises:
            StoreError: A value is not what was written.
        """
        parts = list(self.record_parts(study))
        names = list(parts[0]) if parts else []
        return {name: np.concatenate([part.pop(name) for part in parts]) for name in names}

    def record_parts(self, study: str) -> Iterator[Columns]:
        """Yield what `record_columns` gives, some trials at a time.

        Raises:
            StoreError: As `record_columns`, for a part when it is its turn.
        """
        if (about := self.find_study(study)) is None:
            return
        n_validation = about.data.n_validation
        with self.transaction() as connection:
            yield from read_records(connection, study, n_validation, self)

    def robustness_rows(self, study: str) -> list[dict[str, Any]]:
        """Every draw of damage with its trial, as flat rows, in order.

        Raises:
            StoreError: A value is not what was written.
        """
        with self.transaction() as connection:
            columns = read_robustness(connection, study, self)
        lists = [values.tolist() for values in columns.values()]
        return [dict(zip(columns, values, strict=True)) for values in zip(*lists, strict=True)]

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

    def _check_place(self) -> None:
        """Refuse to write into a file that has no name any more, or beside another one.

        Raises:
            WorldError: The file was moved, removed or replaced since the store was opened.
        """
        if file_identity(self.url) != self._file:
            raise WorldError(
                f"store {self} was moved, removed or replaced while it was in use; nothing more "
                "is written. Put it back, and run the same command again."
            )

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self.transaction() as connection:
            return connection.execute(query).all()

    @contextmanager
    def transaction(self, *, is_writing: bool = False) -> Iterator[Connection]:
        """Open a transaction: one that sees one moment of the store, or one that writes."""
        opened = writing_transaction if is_writing else reading_transaction
        if is_writing:
            self._check_place()
        with translated(self.url), opened(self._engine) as connection:
            yield connection

    def _write(self, owner: Ownership, action: Callable[[Connection], None]) -> None:
        """Write as the owner, in one transaction; a short outage of the database is waited for.

        An action may be tried again: it does nothing where it was done.
        """
        patiently(lambda: self._write_once(owner, action))

    def _write_once(self, owner: Ownership, action: Callable[[Connection], None]) -> None:
        with self.transaction(is_writing=True) as connection:
            confirm(connection, owner)
            action(connection)
