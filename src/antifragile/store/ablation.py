"""Ablation studies in the store: manifests by name, and runs by the hash of what decides them.

A run is one training, or one evaluation of a trained model, of one configuration under one seed.
It belongs to no study: two studies that need the same run share it, so nothing runs twice. A
failed run is kept with its reason until it succeeds; a finished one is never replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import Connection, Row, select

from antifragile.errors import StoreError
from antifragile.store.checksums import sealed
from antifragile.store.database import schema
from antifragile.store.owner import Ownership
from antifragile.store.reading import check_rows, read_names
from antifragile.store.records import Environment
from antifragile.store.store import Store
from antifragile.store.writing import (
    CHUNK,
    insert_new,
    put_environment,
    update_rows,
    utc_now,
)


@dataclass(frozen=True, kw_only=True)
class AblationRun:
    """One run as stored.

    Args:
        run_key: SHA-256 of all that decides its numbers.
        arm: Name of the ablation, for readers.
        protocol: ``retrain``, ``post-hoc`` and so on.
        seed: Seed of the pair it belongs to.
        metrics: Numbers that the experiment returned; None when it failed.
        failure: Why it failed, in words.
        seconds: Wall time.
        finished_at: UTC, ISO 8601.
    """

    run_key: str
    arm: str
    protocol: str
    seed: int
    metrics: dict[str, float] | None = None
    failure: str | None = None
    seconds: float = 0.0
    finished_at: str = ""


class AblationStore(Store):
    """An open store, seen by ablation studies; see `Store` for arguments and errors."""

    def put_manifest(self, manifest: dict[str, Any], *, owner: Ownership) -> None:
        """Write the manifest of the owner's study in place of the one it had."""
        table, text = schema.ablation_studies, json.dumps(manifest, sort_keys=True)

        def put(connection: Connection) -> None:
            query = select(table.c.created_at).where(table.c.name == owner.name)
            created_at = connection.execute(query).scalar()
            row = {"name": owner.name, "manifest": text, "created_at": created_at or utc_now()}
            if created_at is None:
                insert_new(connection, table, sealed(table, [row]))
            else:
                update_rows(connection, table, sealed(table, [row]))

        self._write(owner, put)

    def ablation_names(self) -> list[str]:
        """All ablation studies, in the order they were added.

        Raises:
            StoreError: The name of one is damaged.
        """
        table = schema.ablation_studies
        query = select(table.c.name).order_by(table.c.created_at, table.c.name)
        return read_names(table, self._rows(query), self)

    def manifest(self, name: str | None = None) -> dict[str, Any]:
        """The manifest of a study, or of the only one.

        Raises:
            StoreError: No such study, or no name and not exactly one study, or it is damaged.
        """
        wanted = self._choose(name, self.ablation_names(), "ablation ")
        table = schema.ablation_studies
        rows = self._rows(select(table).where(table.c.name == wanted))
        check_rows(table, rows, self)
        return self._read_object(rows[0].manifest, f"the manifest of {wanted!r}")

    def put_ablation_runs(
        self, runs: Sequence[AblationRun], environment: Environment, *, owner: Ownership
    ) -> None:
        """Write how runs ended, all or none; a finished one stays, a failed one is replaced."""
        table = schema.ablation_runs
        rows = [
            asdict(run)
            | {
                "metrics": None if run.metrics is None else json.dumps(run.metrics, allow_nan=True),
                "finished_at": utc_now(),
            }
            for run in runs
        ]

        def put(connection: Connection) -> None:
            key = put_environment(connection, environment)
            keys = [run.run_key for run in runs]
            failed = table.c.run_key.in_(keys) & table.c.metrics.is_(None)
            connection.execute(table.delete().where(failed))
            insert_new(
                connection, table, sealed(table, [r | {"environment_id": key} for r in rows])
            )

        self._write(owner, put)

    def ablation_runs(self, keys: Iterable[str]) -> dict[str, AblationRun]:
        """The runs of these keys that ended, by key."""
        listed, found = list(keys), dict[str, AblationRun]()
        table = schema.ablation_runs
        for start in range(0, len(listed), CHUNK):
            rows = self._rows(
                select(table).where(table.c.run_key.in_(listed[start : start + CHUNK]))
            )
            check_rows(table, rows, self)
            found |= {str(row.run_key): self._read_run(row) for row in rows}
        return found

    def _read_run(self, row: Row[Any]) -> AblationRun:
        values = {item.name: getattr(row, item.name) for item in fields(AblationRun)}
        if values["metrics"] is not None:
            what = f"run {row.run_key[:12]}"
            values["metrics"] = self._read_object(values["metrics"], what)
        return AblationRun(**values)

    def _read_object(self, text: str, what: str) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise StoreError(f"store {self} is damaged: {what} is not JSON ({error}).") from error
        if not isinstance(value, dict):
            raise StoreError(f"store {self} is damaged: {what} is not an object.")
        return value
