"""``antifragile study status`` and ``summary``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antifragile.analysis.frames import trials_frame
from antifragile.analysis.summary import Measure, summarise
from antifragile.cli.console import plain_table, print_json, stdout
from antifragile.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    MeasureOption,
    StoreOption,
    StudyOption,
)
from antifragile.store.records import StoredStudy, StoredTrial, TrialStatus
from antifragile.store.store import Store
from antifragile.study.folder import default_files


def status(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """Show every study of a store and how far it is."""
    with Store(store, create=False) as opened:
        trials = opened.trials_by_study()
        rows = [
            _status_row(opened, study, trials.get(study.spec.name, []))
            for study in opened.studies()
        ]
    if as_json:
        print_json(rows)
        return
    counts = (">trials", ">finished", ">started", ">meta-loops")
    table = plain_table("study", "data set", *counts, "created")
    for row in rows:
        table.add_row(
            row["study"],
            row["dataset"],
            str(row["trials"]),
            str(row["finished"]),
            str(row["started"]),
            str(row["meta_loops"]),
            row["created_at"],
        )
    stdout().print(table if rows else f"store {opened} has no studies yet.")


def summary(
    store: StoreOption = DEFAULT_STORE,
    study: StudyOption = None,
    measure: MeasureOption = "peak",
    as_json: JsonOption = False,
) -> None:
    """Show n, mean, sd (population), min and max of every cell, in percent."""
    with Store(store, create=False) as opened:
        frame = summarise(trials_frame(opened, opened.study(study)), Measure(measure))
    if as_json:
        print_json(frame.to_dict(orient="records"))
        return
    table = plain_table("architecture", "mode", *(f">{name}" for name in frame.columns[2:]))
    for row in frame.itertuples(index=False):
        numbers = [f"{value:.2f}" for value in row[3:]]
        table.add_row(row[0], row[1], str(row[2]), *numbers)
    stdout().print(table if len(frame) else "no trial has finished yet.")


def _status_row(store: Store, study: StoredStudy, trials: Sequence[StoredTrial]) -> dict[str, Any]:
    spec = study.spec
    planned = len(spec.architectures) * len(spec.modes) * spec.trials  # a damaged store has fewer
    statuses = [trial.status(spec.meta_loops) for trial in trials]
    return {
        "study": spec.name,
        "dataset": spec.dataset,
        "architectures": len(spec.architectures),
        "modes": len(spec.modes),
        "trials": planned,
        "finished": statuses.count(TrialStatus.FINISHED),
        "started": statuses.count(TrialStatus.STARTED),
        "pending": planned - len(statuses) + statuses.count(TrialStatus.PENDING),
        "meta_loops": spec.meta_loops,
        "created_at": study.created_at,
        "files": str(default_files(store, spec.name)),
    }
