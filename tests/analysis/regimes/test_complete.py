"""The complete rules: the labels of the paper's text, no verdict at ZeroR, what is overruled."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from antifragile.analysis.frames import read_trials_csv
from antifragile.analysis.regimes.complete import classify_complete
from antifragile.analysis.regimes.words import Regime
from antifragile.analysis.summary import summarise
from tests.analysis.trial_frames import MODES, made_trials

TEXT = {
    Regime.CHAOTIC: ["1*2", "4*4", "1*1", "2*1", "18*18", "19*19", "20*20"],
    Regime.FAILURE: ["21*21"],
    Regime.OPTIMAL: ["1*128", "2*59"],
    Regime.BENEFICIAL: ["1*2048", "2*939", "4*632"],
}


def test_every_architecture_is_labelled_as_the_text_says(paper_trials: Path) -> None:
    verdicts = classify_complete(summarise(read_trials_csv(paper_trials)), zero_r=11.02)
    assert Counter(verdict.regime for verdict in verdicts.values()) == {
        Regime.BENEFICIAL: 12,
        Regime.OPTIMAL: 16,
        Regime.CHAOTIC: 26,
        Regime.FAILURE: 44,
    }
    for regime, names in TEXT.items():
        assert {name: verdicts[name].regime for name in names} == dict.fromkeys(names, regime)


def test_overruled_labels_are_listed_with_the_reason(paper_trials: Path) -> None:
    verdicts = classify_complete(summarise(read_trials_csv(paper_trials)), zero_r=11.02)
    overruled = {name: v.overrules for name, v in verdicts.items() if v.overrules is not None}
    assert overruled == {
        "1*2": Regime.OPTIMAL,
        "2*4": Regime.OPTIMAL,
        "3*3": Regime.OPTIMAL,
        "2*2": Regime.OPTIMAL,
        "17*4": Regime.BENEFICIAL,
    }
    assert "hardly learn: mean 10.25 %, ZeroR 11.02 %" in verdicts["17*4"].reason
    assert verdicts["17*4"].reason.endswith(
        "overrules beneficial-regularization of the printed rules"
    )


@pytest.mark.parametrize("above", [0.0, 0.01, 0.5, 3.0])
@pytest.mark.parametrize("spread", [0.0, 0.4, 4.0])
def test_means_at_zero_r_are_never_beneficial_or_optimal(above: float, spread: float) -> None:
    frame = made_trials(
        {("9*9", m): [11.02 + above - spread, 11.02 + above + spread] for m in MODES}
    )
    regime = classify_complete(summarise(frame), zero_r=11.02)["9*9"].regime
    assert regime is (Regime.FAILURE if above + spread == 0 else Regime.CHAOTIC)


@pytest.mark.parametrize(
    ("baseline", "ablative", "regime"),
    [
        ([98.0, 98.2], [97.8, 98.0], Regime.BENEFICIAL),
        ([98.0, 98.2], [97.4, 97.6], Regime.OPTIMAL),
        ([70.0, 98.0], [70.0, 98.0], Regime.CHAOTIC),
        ([11.02, 10.1], [11.02, 60.0], Regime.CHAOTIC),
        ([11.02, 10.1], [11.02, 9.8], Regime.FAILURE),
        ([98.0, 98.2], [98.8, 99.0], Regime.BENEFICIAL),
    ],
)
def test_each_rule(baseline: list[float], ablative: list[float], regime: Regime) -> None:
    values = {("a", mode): baseline if mode in MODES[:3] else ablative for mode in MODES}
    verdict = classify_complete(summarise(made_trials(values)), zero_r=11.02)["a"]
    assert verdict.regime is regime


def test_some_modes_are_enough_but_both_groups_are_needed() -> None:
    frame = made_trials(
        {
            ("a", "none"): [98.0],
            ("a", "full"): [98.0],
            ("b", "none"): [98.0],
            ("b", "decay"): [98.0],
        }
    )
    assert list(classify_complete(summarise(frame), zero_r=11.02)) == ["a"]
    empty = pd.DataFrame(columns=["architecture", "mode", "n", "mean", "sd", "min", "max"])
    assert classify_complete(empty, zero_r=11.02) == {}
