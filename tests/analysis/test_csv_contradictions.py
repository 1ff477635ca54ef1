"""A CSV that contradicts itself is refused by line; what is only unlikely is said and read."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from antifragile.analysis.convergence import curves, read_curves_csv
from antifragile.analysis.frames import meta_loops_frame, read_trials_csv, trials_frame
from antifragile.analysis.source import open_source
from antifragile.errors import DataError
from antifragile.store.store import Store
from tests.report.stored_studies import fill_store, made_spec

ZERO_R = 11.02
VALIDATION, TEST = 300, 160
PEAKS = {"none": (251, 248, 30), "output": (255, 33, 262)}
PEAK, FINAL = "peak_validation_accuracy", "final_validation_accuracy"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.csv"


def made() -> pd.DataFrame:
    """Six trials, as the product exports them; every number agrees with the others."""
    rows = [
        {
            "study": "small",
            "architecture": "4*4",
            "mode": mode,
            "trial": trial,
            "meta_loops": 5,
            PEAK: peak * 100 / VALIDATION,
            FINAL: (peak - trial) * 100 / VALIDATION,
            "test_accuracy": (peak // 2) * 100 / TEST,
            "peak_meta_loop": trial,
            "peak_correct": peak,
            "final_correct": peak - trial,
            "test_correct": peak // 2,
        }
        for mode, peaks in PEAKS.items()
        for trial, peak in enumerate(peaks, start=1)
    ]
    return pd.DataFrame(rows)


def made_curves() -> pd.DataFrame:
    """Two curves of four meta-loops."""
    found = [(30.0, 30.0), (50.0, 50.0), (40.0, 50.0), (60.0, 60.0)]
    rows = [
        ("4*4", mode, 1, at, accuracy, bounty)
        for mode in ("none", "full")
        for at, (accuracy, bounty) in enumerate(found, start=1)
    ]
    columns = ["architecture", "mode", "trial", "meta_loop", "validation_accuracy"]
    return pd.DataFrame(rows, columns=[*columns, "bounty_accuracy"])


def without_counts(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=["peak_correct", "final_correct", "test_correct"])


def with_cell(frame: pd.DataFrame, row: int, column: str, value: Any) -> pd.DataFrame:
    changed = frame.copy()
    changed.loc[row, column] = value
    return changed


def exchanged(frame: pd.DataFrame, one: str, other: str) -> pd.DataFrame:
    return frame.rename(columns={one: other, other: one})


def refusal(frame: pd.DataFrame, file: Path, *, zero_r: float = ZERO_R) -> str:
    frame.to_csv(file, index=False)
    read: Callable[..., Any] = read_curves_csv if "meta_loop" in frame else read_trials_csv
    with pytest.raises(DataError) as caught:
        read(file, zero_r=zero_r)
    return str(caught.value).removeprefix(f"{file}, ")


@pytest.mark.parametrize("decimals", [0, 1, 2, 20])
def test_numbers_that_agree_are_read_however_they_are_rounded(
    file: Path, decimals: int, caplog: pytest.LogCaptureFixture
) -> None:
    frame = made().round(decimals)
    frame.to_csv(file, index=False)
    pd.testing.assert_frame_equal(read_trials_csv(file, zero_r=ZERO_R), frame)
    without_counts(frame).to_csv(file, index=False)
    pd.testing.assert_frame_equal(read_trials_csv(file), without_counts(frame))
    made_curves().to_csv(file, index=False)
    pd.testing.assert_frame_equal(
        read_curves_csv(file, zero_r=ZERO_R), curves(made_curves()), check_dtype=False
    )
    assert not caplog.records


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            exchanged(without_counts(made()), PEAK, FINAL),
            "line 2: final_validation_accuracy is 83.6667, above peak_validation_accuracy 83.3333; "
            "it cannot be. Are two columns exchanged?",
        ),
        (exchanged(made(), "peak_correct", "final_correct"), "line 2: final_correct is 251, above"),
        (
            with_cell(without_counts(made()), 3, FINAL, 90.0),
            "line 5: final_validation_accuracy is 90, above peak_validation_accuracy 85; it",
        ),
        (
            with_cell(made(), 4, "peak_meta_loop", 6),
            "line 6: peak_meta_loop is 6, above meta_loops",
        ),
        (
            with_cell(made(), 0, PEAK, 99.0),
            "line 2: peak_correct is 251 and peak_validation_accuracy 99; of the 300 samples that "
            "fit most lines they are 83.6667 %.",
        ),
        (
            with_cell(made(), 2, "test_correct", 16),
            "line 4: test_correct is 16 and test_accuracy 9",
        ),
        (with_cell(made(), 5, PEAK, 262 / VALIDATION), "line 7: final_validation_accuracy is 86.3"),
        (
            exchanged(exchanged(made(), PEAK, "test_accuracy"), FINAL, "nothing").round(2),
            "line 2: peak_correct is 251 and peak_validation_accuracy 78.12; of the",
        ),
    ],
)
def test_cells_of_a_row_that_contradict_each_other(
    file: Path, frame: pd.DataFrame, message: str
) -> None:
    assert refusal(frame, file).startswith(message)


@pytest.mark.parametrize("column", [PEAK, FINAL, "test_accuracy"])
def test_a_column_of_fractions_is_refused(file: Path, column: str) -> None:
    frame = without_counts(made())
    frame = frame.assign(**{column: frame[column] / 100})
    if column == PEAK:
        frame = frame.drop(columns=FINAL)
    for zero_r in (ZERO_R, math.nan):
        said = refusal(frame, file, zero_r=zero_r)
        assert f"{column} is {frame[column].max():g}, the largest of its column; expected" in said
        assert said.endswith("percent, not fractions: 84 for 84 %.")
    frame.to_csv(file, index=False)
    assert read_trials_csv(file, zero_r=0.1)[column].tolist() == frame[column].tolist()


def test_a_file_of_fractions_is_refused_by_every_verb(file: Path) -> None:
    (made()[["architecture", "mode", "trial", PEAK]].assign(**{PEAK: 0.84})).to_csv(file)
    with pytest.raises(DataError, match=r"accuracy is 0\.84, .* not fractions"):
        open_source(str(file), zero_r=ZERO_R)
    with pytest.raises(DataError, match="not fractions"):
        open_source(str(file), zero_r=math.nan)  # as compare-modes opens it
    assert open_source(str(file), zero_r=0.1).trials[PEAK].eq(0.84).all()


def test_one_fraction_among_percent_is_doubted_and_a_failure_is_not(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failed = made().assign(mode="none", trial=range(1, 7), **{PEAK: [84.0, 9.8, 10.1, 1.5, 85, 84]})
    failed = failed[["architecture", "mode", "trial", PEAK]]
    failed.to_csv(file, index=False)
    pd.testing.assert_frame_equal(read_trials_csv(file, zero_r=ZERO_R), failed)
    assert not caplog.records
    failed.loc[[2, 4], PEAK] = [0.84, 0.85]
    failed.to_csv(file, index=False)
    assert read_trials_csv(file, zero_r=ZERO_R)[PEAK].tolist() == failed[PEAK].tolist()
    assert [record.getMessage() for record in caplog.records] == [
        f"{file}, line 4: peak_validation_accuracy is 0.84, the first of 2 cell(s) of at most 1; "
        "accuracies and ZeroR are percent, not fractions."
    ]
    caplog.clear()
    read_trials_csv(file, zero_r=0.1)  # a thousand classes
    assert not caplog.records
    failed.assign(**{PEAK: 0.84}).to_csv(file, index=False)
    read_trials_csv(file, zero_r=0.1102)  # a fraction too, or a thousand classes without success
    assert "line 2: peak_validation_accuracy is 0.84, the first of 6 cell(s)" in caplog.text


def test_trials_of_different_length_are_doubted(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = with_cell(made(), 3, "meta_loops", 100)
    frame.to_csv(file, index=False)
    pd.testing.assert_frame_equal(read_trials_csv(file), frame)
    assert [record.getMessage() for record in caplog.records] == [
        f"{file}, line 5: meta_loops is 100, of most trials 5; trials of different length are "
        "compared as if they were equal."
    ]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            with_cell(made_curves(), 2, "bounty_accuracy", 39.0),
            "line 4: validation_accuracy is 40, above bounty_accuracy 39; it cannot be.",
        ),
        (
            with_cell(made_curves(), 2, "bounty_accuracy", 45.0),
            "line 4: bounty_accuracy falls to 45; the best so far cannot fall.",
        ),
        (
            made_curves().drop(index=5),
            "line 7: meta_loop is 3, with 1 before it in this trial; a curve has every meta_loop "
            "from 1 on.",
        ),
        (
            made_curves().drop(index=[4], columns=["trial", "bounty_accuracy"])[::-1],
            "line 4: meta_loop is 2, with 0 before it in this trial",
        ),
        (
            made_curves().assign(validation_accuracy=0.5, bounty_accuracy=50.0),
            "line 2: validation_accuracy is 0.5, the largest of its column; expected percent",
        ),
        (
            made_curves().assign(
                validation_correct=[3, 5, 4, 6, 3, 5, 4, 5], bounty=[3, 5, 5, 6, 3, 5, 5, 6]
            ),
            "line 9: validation_correct is 5 and validation_accuracy 60; of the 10 samples",
        ),
    ],
)
def test_curves_that_contradict_themselves(file: Path, frame: pd.DataFrame, message: str) -> None:
    assert refusal(frame, file).startswith(message)


def test_what_a_store_exports_is_read_back(
    tmp_path: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = made_spec(
        "small", ("4*4", "1*16", "[2*8, 1*4]"), ("none", "output"), trials=3, meta_loops=4
    )
    fill_store(tmp_path / "made.db", spec)
    with Store(str(tmp_path / "made.db"), create=False) as store:
        study = store.study("small")
        trials, records = trials_frame(store, study), meta_loops_frame(store, study)
    trials.to_csv(file, index=False)
    read = read_trials_csv(file, zero_r=ZERO_R)
    pd.testing.assert_frame_equal(read, trials, check_dtype=False, check_exact=True)
    records.to_csv(file, index=False)
    read = read_curves_csv(file, zero_r=ZERO_R)
    expected = curves(records)[read.columns]
    pd.testing.assert_frame_equal(read, expected, check_dtype=False, check_exact=True)
    assert not caplog.records
