"""An MLflow tracking store in one SQLite file, ``mlflow.db``, one run per trial.

Look at it with ``mlflow ui --backend-store-uri sqlite:///DIR/mlflow.db``. The study is the
experiment. Written with MLflow's own client; its folder format is not used, as MLflow itself
no longer develops it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from antifragile._optional import require
from antifragile.analysis.source import Source
from antifragile.report.trackers.runs import RunWriter, TrackedRun, export_runs

DATABASE = "mlflow.db"
_LONGEST_VALUE = 6000  # of a parameter, MLflow's limit
_BATCH = 1000  # metrics of one call, MLflow's limit
_NEEDED = {"extra": "mlflow", "purpose": "MLflow export"}
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # an export sends nothing anywhere
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def export_mlflow(source: Source, folder: Path) -> int:
    """Write a run for every trial with records; see `export_runs`.

    Raises:
        MissingExtraError: mlflow or alembic is not installed.
    """

    def begin(temporary: Path) -> RunWriter:
        require("alembic", **_NEEDED)
        database = f"sqlite:///{quote(str(temporary.absolute() / DATABASE))}"
        client = require("mlflow", **_NEEDED).MlflowClient(
            tracking_uri=database, registry_uri=database
        )
        artifacts = (folder.absolute() / "artifacts").as_uri()  # where the folder will be
        experiment = client.create_experiment(source.name, artifact_location=artifacts)
        return partial(_write, client, experiment)

    with _quiet():
        return export_runs(source, folder, begin)


def _write(client: Any, experiment: str, run: TrackedRun) -> None:
    entities = require("mlflow.entities", **_NEEDED)

    def milliseconds(seconds: float) -> int:
        return round(1000 * seconds)

    metrics = [
        entities.Metric(name, value, milliseconds(at), meta_loop)
        for name, meta_loop, at, value in run.points()
    ]
    parameters = [
        entities.Param(name, str(value)[:_LONGEST_VALUE]) for name, value in run.parameters.items()
    ]
    begun = client.create_run(experiment, start_time=milliseconds(run.times[0]), run_name=run.name)
    run_id = begun.info.run_id
    client.log_batch(run_id, params=parameters)
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
    status = "FINISHED" if run.results else "RUNNING"
    client.set_terminated(run_id, status=status, end_time=milliseconds(run.times[-1]))


@contextmanager
def _quiet() -> Iterator[None]:
    """No telemetry, no notes on tables being made, none of MLflow's own deprecation warnings."""
    before = {name: os.environ.get(name) for name in _QUIET}
    os.environ.update(_QUIET)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
