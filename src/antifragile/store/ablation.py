"""Ablation studies in the store: manifests by name, and runs by the hash of what decides them.

A run is one training, or one evaluation of a trained model, of one configuration under one seed.
It belongs to no study: two studies that need the same run share it, so nothing runs twice. A
failed run is kept with its reason until it succeeds; a finished one is never replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select

from antifragile.errors import StoreError
from antifragile.store import schema
from antifragile.store.records import Environment
from antifragile.store.store import Store
from antifragile.store.writing import insert_new, put_environment, utc_now

_CHUNK = 400  # keys of one query, below SQLite's limit on bound values


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

    def put_manifest(self, name: str, manifest: dict[str, Any]) -> None:
        """Write a study's manifest in place of the one it had."""
        table, text = schema.ablation_studies, json.dumps(manifest, sort_keys=True)
        with self._transaction() as connection:
            row = {"name": name, "manifest": text, "created_at": utc_now()}
            insert_new(connection, table, [row])
            where = table.c.name == name
            connection.execute(table.update().where(where).values(manifest=text))

    def ablation_names(self) -> list[str]:
        """All ablation studies, in the order they were added."""
        table = schema.ablation_studies.c
        with self._transaction() as connection:
            query = select(table.name).order_by(table.created_at, table.name)
            return [str(name) for name in connection.execute(query).scalars()]

    def manifest(self, name: str | None = None) -> dict[str, Any]:
        """The manifest of a study, or of the only one.

        Raises:
            StoreError: No such study, or no name and not exactly one study, or it is damaged.
        """
        wanted = self._choose(name, self.ablation_names(), "ablation ")
        table = schema.ablation_studies.c
        with self._transaction() as connection:
            query = select(table.manifest).where(table.name == wanted)
            text = connection.execute(query).scalar_one()
        return self._read_object(text, f"the manifest of {wanted!r}")

    def put_ablation_run(self, run: AblationRun, environment: Environment) -> None:
        """Write how a run ended; a finished one stays, a failed one is replaced."""
        table = schema.ablation_runs
        values = asdict(run) | {
            "metrics": None if run.metrics is None else json.dumps(run.metrics, allow_nan=True),
            "finished_at": utc_now(),
        }
        with self._transaction() as connection:
            values["environment_id"] = put_environment(connection, environment)
            failed = (table.c.run_key == run.run_key) & table.c.metrics.is_(None)
            connection.execute(table.delete().where(failed))
            insert_new(connection, table, [values])

    def ablation_runs(self, keys: Iterable[str]) -> dict[str, AblationRun]:
        """The runs of these keys that ended, by key."""
        listed, found = list(keys), dict[str, AblationRun]()
        table = schema.ablation_runs
        for start in range(0, len(listed), _CHUNK):
            query = select(table).where(table.c.run_key.in_(listed[start : start + _CHUNK]))
            with self._transaction() as connection:
                rows = connection.execute(query).mappings().all()
            found |= {str(row["run_key"]): self._read_run(dict(row)) for row in rows}
        return found

    def _read_run(self, row: dict[str, Any]) -> AblationRun:
        row.pop("environment_id")
        if row["metrics"] is not None:
            row["metrics"] = self._read_object(row["metrics"], f"run {row['run_key'][:12]}")
        return AblationRun(**row)

    def _read_object(self, text: str, what: str) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise StoreError(f"store {self} is damaged: {what} is not JSON ({error}).") from error
        if not isinstance(value, dict):
            raise StoreError(f"store {self} is damaged: {what} is not an object.")
        return value
