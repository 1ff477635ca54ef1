"""The paper's rules as printed, on the paper's own data and on cases made to fit each rule."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from antifragile.analysis.frames import read_trials_csv
from antifragile.analysis.regimes.paper import classify_by_paper
from antifragile.analysis.regimes.words import Regime
from antifragile.analysis.summary import Measure, summarise
from antifragile.errors import DataError

MODES = ("none", "decay", "dropout", "full", "hidden", "output")


def test_the_papers_data_give_the_counts_of_the_printed_rules(paper_trials: Path) -> None:
    verdicts = classify_by_paper(summarise(read_trials_csv(paper_trials)), zero_r=11.02)
    assert Counter(verdict.regime for verdict in verdicts.values()) == {
        Regime.BENEFICIAL: 8,
        Regime.OPTIMAL: 20,
        Regime.CHAOTIC: 20,
        Regime.FAILURE: 44,
        Regime.UNCLASSIFIED: 6,
    }
    left_out = {name for name, v in verdicts.items() if v.regime is Regime.UNCLASSIFIED}
    assert left_out == {"1*512", "2*354", "2*214", "4*185", "4*119", "9*9"}


def test_table_1_and_the_summary_use_the_population_sd(paper_trials: Path) -> None:
    cells = summarise(read_trials_csv(paper_trials)).set_index(["architecture", "mode"])
    row = cells.loc[("1*2048", "none")]
    shown = (int(row["n"]), *(round(float(row[c]), 2) for c in ("mean", "sd", "min", "max")))
    assert shown == (10, 98.19, 0.06, 98.08, 98.34)


def classify(means: dict[str, float], peaks: dict[str, float] | None = None) -> Regime:
    rows = [
        {"architecture": "a", "mode": m, "mean": means[m], "max": (peaks or means)[m]}
        for m in MODES
    ]
    return classify_by_paper(pd.DataFrame(rows), zero_r=11.02)["a"].regime


def cells(*values: float) -> dict[str, float]:
    return dict(zip(MODES, values, strict=True))


@pytest.mark.parametrize(
    ("means", "regime"),
    [
        (cells(11.02, 10.5, 11.02, 9.8, 11.02, 11.0), Regime.FAILURE),
        (cells(98.2, 98.2, 98.2, 98.1, 98.2, 98.0), Regime.BENEFICIAL),
        (cells(97.0, 97.0, 97.0, 96.0, 96.5, 95.0), Regime.OPTIMAL),
        (cells(10.5, 10.5, 10.5, 11.0, 30.0, 40.0), Regime.CHAOTIC),
        (cells(50.0, 50.0, 50.0, 52.0, 52.0, 52.0), Regime.CHAOTIC),
        (cells(97.0, 97.0, 97.0, 97.0, 97.0, 96.2), Regime.UNCLASSIFIED),
    ],
)
def test_each_rule_in_its_order(means: dict[str, float], regime: Regime) -> None:
    assert classify(means) is regime


def test_an_architecture_with_a_mode_missing_gets_no_verdict() -> None:
    frame = pd.DataFrame([{"architecture": "a", "mode": "none", "mean": 1.0, "max": 1.0}])
    assert classify_by_paper(frame, zero_r=11.02) == {}


def test_summary_of_a_hand_made_cell() -> None:
    frame = pd.DataFrame(
        {
            "architecture": ["a"] * 2,
            "mode": ["none"] * 2,
            "peak_validation_accuracy": [1.0, 3.0],
            "test_accuracy": [5.0, 5.0],
        }
    )
    assert summarise(frame).loc[0].tolist() == ["a", "none", 2, 2.0, 1.0, 1.0, 3.0]
    assert summarise(frame, Measure.TEST).loc[0, "sd"] == 0


def test_a_csv_without_the_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="lacks the column"):
        read_trials_csv(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1*4,none,1,98.1", "1*4,none,2,"], r"line 3: peak_validation_accuracy is empty"),
        (["1*4,none,1,very good"], r"line 2: peak_validation_accuracy is 'very good'"),
        (["1*4,none,1,9810"], r"expected percent, 0 to 100"),
        (
            ["1*4,none,1,98.1", "1*4,none,1,98.2"],
            r"line 3: architecture 1\*4, mode none, trial 1 is there twice",
        ),
    ],
)
def test_a_csv_with_a_wrong_row_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["architecture,mode,trial,peak_validation_accuracy", *lines]))
    with pytest.raises(DataError, match=message):
        read_trials_csv(path)
