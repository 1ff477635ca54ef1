"""Benchmarks of the runs beyond the paper: what is compared with what, and chances of escape."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from antifragile.analysis.inference.pairs import IDENTICAL
from benchmarks.beyond.arms import control_of, undecidable
from benchmarks.beyond.author import equivalence, standardised
from benchmarks.beyond.hazard import hazard
from benchmarks.beyond.own_models import SmallTransformer, letter_loss, small_cnn, text_sets
from benchmarks.trust.reproduction import Cell

MODES = (
    "none",
    "hidden",
    "hidden+noise",
    "none+continuous",
    "redo",
    "redo+continuous",
    "none+learning-rate=0.001",
    "hidden+learning-rate=0.001",
    "none+learning-rate=0.001+initialisation=he",
)


@pytest.mark.parametrize(
    ("mode", "control"),
    [
        ("none", None),
        ("hidden", "none"),
        ("hidden+noise", "hidden"),
        ("none+continuous", "none"),
        ("redo", "none"),
        ("redo+continuous", "none+continuous"),
        ("none+learning-rate=0.001", "none"),
        ("hidden+learning-rate=0.001", "none+learning-rate=0.001"),
        ("output+noise", "none"),
        ("dropout:50,output:50", "none"),
        ("output+learning-rate=0.001+initialisation=he", MODES[-1]),
    ],
)
def test_each_arm_stands_against_the_one_that_differs_in_one_word(
    mode: str, control: str | None
) -> None:
    assert control_of(mode, MODES) == control


def test_a_trial_is_at_risk_until_it_escapes_or_ends() -> None:
    trials = pd.DataFrame({"last": [10, 10, 4, 10], "escaped": [3, np.inf, np.inf, 1]})
    assert hazard(trials, 2, 5) == (1, 2 + 4 + 3)
    assert hazard(trials, 6, 100) == (0, 5)


def test_the_mean_standardised_difference_of_equal_cells_is_near_zero() -> None:
    rng = np.random.default_rng(0)
    cells = [
        Cell(architecture="", mode="", ours=rng.normal(size=10), paper=rng.normal(size=10))
        for _ in range(60)
    ]
    found = standardised(cells)
    assert abs(found.mean()) < 0.2
    assert "equivalent within 0.3 sd: p = " in equivalence(found)
    shifted = [Cell(architecture="", mode="", ours=c.ours + 1, paper=c.paper) for c in cells]
    assert standardised(shifted).mean() == pytest.approx(1.05, abs=0.2)


def test_the_models_are_small_and_the_text_is_shifted_by_one_letter() -> None:
    sizes = [
        sum(p.numel() for p in model.parameters()) for model in (small_cnn(), SmallTransformer())
    ]
    assert sizes == [52_186, 170_688]
    (inputs, targets), _ = text_sets()
    assert (inputs[:, 1:] == targets[:, :-1]).all()
    untrained = letter_loss(SmallTransformer(), inputs[:2])
    assert 4 < untrained.item() < 6, "near log 128 nats"


@pytest.mark.parametrize(("n_tests", "said"), [(25, False), (26, True)])
def test_few_pairs_are_said_to_decide_nothing(n_tests: int, said: bool) -> None:
    compared = pd.DataFrame({"test": ["sign flips"] * n_tests + [IDENTICAL] * 9})
    assert bool(undecidable(compared, 10)) is said
