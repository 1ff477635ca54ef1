"""Curves: bands, times, late improvement and harm, on curves small enough to count."""

from pathlib import Path

import pandas as pd
import pytest

from antifragile.analysis.convergence import (
    curves,
    mean_and_best_curves,
    peak_times,
    read_curves_csv,
    still_improving,
)
from antifragile.errors import DataError


def made_curves(*accuracies: list[float], mode: str = "full") -> pd.DataFrame:
    return curves(
        pd.DataFrame(
            [
                {
                    "architecture": "a",
                    "mode": mode,
                    "trial": trial,
                    "meta_loop": loop,
                    "validation_accuracy": value,
                }
                for trial, curve in enumerate(accuracies, start=1)
                for loop, value in enumerate(curve, start=1)
            ]
        )
    )


def test_the_bounty_is_the_best_so_far() -> None:
    frame = made_curves([50.0, 40.0, 60.0])
    assert frame["bounty_accuracy"].tolist() == [50, 50, 60]


def test_means_over_trials_with_their_interval() -> None:
    means = mean_and_best_curves(made_curves([10.0, 20.0], [30.0, 40.0]))
    assert means.loc[0, ["n", "mean", "best"]].tolist() == [2, 20, 30]
    assert means.loc[0, "low"] < 10 < 30 < means.loc[0, "high"]
    single = mean_and_best_curves(made_curves([10.0]))
    assert single[["low", "high"]].isna().all(axis=None)


def test_times_of_the_peak_and_of_coming_near_it() -> None:
    times = peak_times(made_curves([50.0, 97.95, 97.0, 98.0, 98.0], [98.0, 1.0, 1.0, 1.0, 1.0]))
    assert times["peak_meta_loop"].tolist() == [4, 1]
    assert times["near_meta_loop"].tolist() == [2, 1]
    assert times["meta_loops"].tolist() == [5, 5]


def test_share_still_improving() -> None:
    frame = made_curves([1.0, 2.0, 2.0, 3.0], [5.0, 1.0, 1.0, 1.0])
    shares = still_improving(frame).set_index("meta_loop")
    assert shares["share"].tolist() == [0.5, 0.5, 0.5]
    assert list(shares.index) == [2, 3, 4]
    assert (shares["low"] < 0.5).all()
    assert (shares["high"] > 0.5).all()


def test_the_papers_curves(paper_convergence: Path) -> None:
    frame = read_curves_csv(paper_convergence)
    assert len(frame) == 58_800
    written = pd.read_csv(paper_convergence, keep_default_na=False)
    assert sorted(map(tuple, frame[written.columns].to_numpy())) == sorted(
        map(tuple, written.to_numpy())
    )
    times = peak_times(frame)
    assert len(times) == 588
    assert times["meta_loops"].eq(100).all()
    assert list(times["mode"].unique()) == ["none", "decay", "dropout", "full", "hidden", "output"]
    last = still_improving(frame).query("meta_loop == 90").set_index("mode")
    assert last["trials"].eq(98).all()
    assert last["improving"].to_dict() == {
        "none": 23, "decay": 22, "dropout": 23, "full": 32, "hidden": 31, "output": 37,
    }  # fmt: skip


def test_a_csv_without_the_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("architecture,mode\n1*4,none\n")
    with pytest.raises(DataError, match="lacks the column"):
        read_curves_csv(path)
    with pytest.raises(DataError, match="cannot read"):
        read_curves_csv(tmp_path / "absent.csv")
