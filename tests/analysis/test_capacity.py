"""Size advice: recovers a made law exactly, and on the paper's data misses by half a doubling."""

from pathlib import Path

import numpy as np
import pytest

from antifragile.analysis.capacity import advise_size, harm_of_ablation
from antifragile.analysis.source import Source, open_source
from antifragile.config.architecture import Architecture
from antifragile.errors import DataError
from tests.analysis.trial_frames import MODES, made_source


def made_law(*names: str, paired: bool = False) -> Source:
    """Trials whose harm is 0.5 points at 100,000 parameters and doubles when size halves."""
    values = {}
    for name in names:
        harm = 0.5 * 100_000 / Architecture.parse(name).parameter_count()
        for mode in MODES:
            level = 95.0 if mode in MODES[:3] else 95.0 - harm
            values[(name, mode)] = [level - 0.001, level + 0.001]
    return made_source(values, paired=paired)


def test_a_power_law_is_recovered() -> None:
    advice = advise_size(made_law("1*512", "1*256", "1*64", "1*32", "2*115", "2*30", "4*425"))
    assert advice.slope == pytest.approx(-1, abs=0.01)
    assert advice.reference_parameters == pytest.approx(100_000, rel=0.01)
    table = advice.table.set_index("architecture")
    assert table["advice"][["1*512", "2*30", "4*425"]].tolist() == [
        "over-sized", "under-sized", "over-sized",
    ]  # fmt: skip
    assert [error.family for error in advice.errors] == ["2*W", "4*W"]
    assert all(error.rms_doublings < 0.1 for error in advice.errors)
    assert table["fitted"].sum() == 4


def test_another_harm_can_take_its_place() -> None:
    source = made_law("1*512", "1*256", "1*64", "1*32", "2*115")
    doubled = harm_of_ablation(source).assign(harm=lambda rows: 2 * rows["harm"])
    advice = advise_size(source, harm=doubled)
    assert advice.table["harm"].tolist() == doubled["harm"].tolist()
    assert advice.reference_parameters == pytest.approx(200_000, rel=0.01)


def test_harm_of_paired_trials_has_the_error_of_their_differences() -> None:
    values = {("1*4", m): [90.0, 95.0] for m in MODES[:3]}
    values |= {("1*4", m): [89.0, 94.0] for m in MODES[3:]}
    assert harm_of_ablation(made_source(values)).loc[0, "harm_se"] > 1
    harm = harm_of_ablation(made_source(values, paired=True)).loc[0]
    assert (harm["harm"], harm["harm_se"]) == (1, 0)


def test_the_papers_deeper_rows_are_missed_by_half_a_doubling(paper_trials: Path) -> None:
    advice = advise_size(open_source(str(paper_trials), zero_r=11.02))
    assert advice.rows == 10
    assert {error.family: error.shapes for error in advice.errors} == {"2*W": 9, "4*W": 9}
    assert all(error.rms_doublings < 0.55 for error in advice.errors)
    table = advice.table.set_index("architecture")
    assert table.loc["2*939", "advice"] == "over-sized"
    assert table.loc["2*8", "advice"] == "under-sized"
    assert (table["low"] < table["effective_parameters"]).all()
    assert "1*2" in advice.left_out
    assert np.isfinite(table["ratio_high"]).all()


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="got 2 of them, expected at least 4"):
        advise_size(made_law("1*512", "1*64", "2*59"))
    with pytest.raises(DataError, match="got 0 of them"):
        advise_size(made_source({}))
