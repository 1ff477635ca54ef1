"""From a store to data frames: one row per trial, or one row per meta-loop.

Accuracies in frames are in percent; the counts they come from stand beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from antifragile.analysis.csv_files import read_csv
from antifragile.store.checksums import Columns
from antifragile.store.records import StoredStudy
from antifragile.store.store import Store

_ACCURACIES = {
    "validation_correct": "validation_accuracy",
    "bounty": "bounty_accuracy",
    "ablated_correct": "ablated_accuracy",
}
TRIAL_COLUMNS = ("architecture", "mode", "trial", "peak_validation_accuracy")


def trials_frame(store: Store, study: StoredStudy) -> pd.DataFrame:
    """Finished trials, one row each, in planned order.

    Returns:
        Columns study, architecture, mode, trial, meta_loops, peak_validation_accuracy,
        final_validation_accuracy, test_accuracy (percent), peak_meta_loop, and the counts
        peak_correct, final_correct, test_correct.
    """
    validation, test = 100 / study.data.n_validation, 100 / study.data.n_test
    rows = [
        {
            "study": study.spec.name,
            "architecture": trial.architecture,
            "mode": trial.mode,
            "trial": trial.trial,
            "meta_loops": trial.result.meta_loops,
            "peak_validation_accuracy": trial.result.peak_correct * validation,
            "final_validation_accuracy": trial.result.final_correct * validation,
            "test_accuracy": trial.result.test_correct * test,
            "peak_meta_loop": trial.result.peak_meta_loop,
            "peak_correct": trial.result.peak_correct,
            "final_correct": trial.result.final_correct,
            "test_correct": trial.result.test_correct,
        }
        for trial in store.trials(study.spec.name)
        if trial.result is not None
    ]
    columns = list(rows[0]) if rows else ["study", *TRIAL_COLUMNS]
    return pd.DataFrame(rows, columns=columns)


def meta_loops_frame(store: Store, study: StoredStudy) -> pd.DataFrame:
    """Every stored meta-loop record with its trial and the environment that computed it.

    ``validation_accuracy``, ``bounty_accuracy`` and ``ablated_accuracy`` (percent) stand beside
    the counts; the last is missing where nothing was ablated or a study did not ask for it.
    """
    return _as_frame(store.record_columns(study.spec.name))


def meta_loops_frames(store: Store, study: StoredStudy) -> Iterator[pd.DataFrame]:
    """Yield what `meta_loops_frame` gives in parts of some tens of thousands of rows.

    A part is read from the store when it is asked for; without records there is one, and it is
    empty.
    """
    parts = store.record_parts(study.spec.name)
    first = next(parts, {})
    yield from map(_as_frame, chain([first], parts))


def _as_frame(columns: Columns) -> pd.DataFrame:
    ordered = dict[str, Any]()
    percent = 100 / columns["n_validation"] if columns else np.empty(0)
    for name, values in columns.items():
        is_count = name in ("ablated_layer", "ablated_neuron", "ablated_correct")
        ordered[name] = pd.array(values, dtype="Int64") if is_count else values
        if name in _ACCURACIES:
            ordered[_ACCURACIES[name]] = values * percent
    ordered.pop("n_validation", None)
    return pd.DataFrame(ordered, copy=False)


def robustness_frame(store: Store, study: StoredStudy) -> pd.DataFrame:
    """Test accuracy of damaged networks, a row per trial, kind, level and draw.

    Returns:
        Columns architecture, mode, trial, damage, level, draw, test_correct, test_accuracy
        (percent); empty when the study did not measure it.
    """
    columns = ["architecture", "mode", "trial", "damage", "level", "draw", "test_correct"]
    frame = pd.DataFrame(store.robustness_rows(study.spec.name), columns=columns)
    return frame.assign(test_accuracy=frame.test_correct * 100 / study.data.n_test)


def read_trials_csv(path: Path, *, zero_r: float = math.nan) -> pd.DataFrame:
    """Read a CSV of trials: columns architecture, mode, trial, peak_validation_accuracy.

    Args:
        path: The file.
        zero_r: ZeroR accuracy in percent, which tells percent from fractions; NaN when unknown.

    Raises:
        DataError: As `csv_files.read_csv`.
    """
    return read_csv(path, TRIAL_COLUMNS, key=TRIAL_COLUMNS[:3], what="trials", zero_r=zero_r)
