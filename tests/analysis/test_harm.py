"""Harm of one ablation: what it takes at once, what comes back, what is left."""

from __future__ import annotations

import pandas as pd
import pytest

from antifragile.analysis.harm import ablations, harm_by_cell, harm_of_architectures, has_harm
from antifragile.errors import UsageError

# LKG 80 -> ablated 70 -> 82 after the epoch; LKG 82 -> ablated 79 -> 81
ONE_TRIAL = ((80.0, 80.0, None), (82.0, 82.0, 70.0), (81.0, 82.0, 79.0))


def records(
    *trials: tuple[tuple[float, float, float | None], ...], mode: str = "output"
) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "architecture": "1*4",
                "mode": mode,
                "trial": number,
                "meta_loop": meta_loop,
                "validation_accuracy": accuracy,
                "bounty_accuracy": bounty,
                "ablated_accuracy": ablated,
                "ablated_layer": meta_loop % 2,
                "ablated_neuron": 0,
            }
            for number, trial in enumerate(trials, start=1)
            for meta_loop, (accuracy, bounty, ablated) in enumerate(trial, start=1)
        ]
    )


def test_an_ablation_is_measured_against_the_lkg_before_it() -> None:
    rows = ablations(records(ONE_TRIAL))
    assert rows["meta_loop"].tolist() == [2, 3]
    assert rows["drop"].tolist() == [10.0, 3.0]
    assert rows["recovery"].tolist() == [12.0, 2.0]
    assert rows["left"].tolist() == [-2.0, 1.0]


def test_trials_do_not_run_into_each_other_whatever_their_order() -> None:
    frame = records(ONE_TRIAL, ((50.0, 50.0, None), (40.0, 50.0, 45.0)))
    shuffled = frame.sample(frac=1, random_state=3)
    found = ablations(shuffled).set_index(["trial", "meta_loop"])["drop"].sort_index()
    assert found.tolist() == [10.0, 3.0, 5.0]


def test_means_are_taken_within_trials_first() -> None:
    frame = records(ONE_TRIAL, ((50.0, 50.0, None), (40.0, 50.0, 45.0)))
    (cell,) = harm_by_cell(ablations(frame)).itertuples()
    assert (cell.n, cell.ablations) == (2, 3)
    assert cell.drop == pytest.approx((6.5 + 5) / 2)
    # two trials at 6.5 and 5: t(0.975, 1) = 12.706 times a standard error of 0.75
    assert cell.drop_high == pytest.approx(5.75 + 12.706 * 0.75, abs=1e-3)
    assert cell.left == pytest.approx(cell.drop - cell.recovery)
    assert cell.share_mended == pytest.approx(1 / 3)
    assert cell.worst_drop == 10.0


def test_it_can_be_told_by_layer() -> None:
    found = harm_by_cell(ablations(records(ONE_TRIAL)), by=("mode", "ablated_layer"))
    assert found[["mode", "ablated_layer", "drop"]].to_numpy().tolist() == [
        ["output", 0, 10.0],
        ["output", 1, 3.0],
    ]


def test_a_single_trial_has_no_interval() -> None:
    (cell,) = harm_by_cell(ablations(records(ONE_TRIAL))).itertuples()
    assert cell.drop_low != cell.drop_low


def test_architectures_average_their_modes_alike() -> None:
    once = ((80.0, 80.0, None), (80.0, 80.0, 60.0))
    frame = pd.concat([records(ONE_TRIAL), records(once, mode="full")])
    (row,) = harm_of_architectures(ablations(frame), "drop").itertuples()
    assert (row.architecture, row.harm) == ("1*4", (6.5 + 20) / 2)


def test_modes_that_ablate_nothing_have_no_rows() -> None:
    control = records(ONE_TRIAL, mode="none").assign(ablated_accuracy=float("nan"))
    both = pd.concat([records(ONE_TRIAL), control])
    assert set(ablations(both)["mode"]) == {"output"}


@pytest.mark.parametrize("missing", ["nan", "column"])
def test_records_that_do_not_say_are_refused(missing: str) -> None:
    frame = records(ONE_TRIAL).drop(columns="ablated_accuracy")
    if missing == "nan":
        frame = frame.assign(ablated_accuracy=float("nan"))
    assert not has_harm(frame)
    assert not has_harm(None)
    with pytest.raises(UsageError, match=r"run a study with \[evaluate\] harm = true"):
        ablations(frame)
