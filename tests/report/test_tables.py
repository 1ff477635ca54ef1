"""The paper's tables: exact against the paper's data, sensible for any other study."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from antifragile.analysis.regimes.words import RegimeRules
from antifragile.analysis.source import open_source
from antifragile.analysis.summary import Measure
from antifragile.errors import DataError, UsageError
from antifragile.report.page.facts import production_facts
from antifragile.report.survey import Survey, survey
from antifragile.report.table import Table, show
from antifragile.report.tables.names import TableName
from antifragile.report.tables.paper import build_table, winner_differences
from antifragile.report.tables.printed import PRINTED_WINNERS
from antifragile.report.targets import parse_targets
from tests.report.stored_studies import empty_source, made_source


@pytest.fixture(scope="module")
def paper(paper_trials: Path) -> Survey:
    return survey(open_source(str(paper_trials), zero_r=11.02))


@pytest.fixture(scope="module")
def made() -> Survey:
    return survey(made_source())


def shown(table: Table) -> list[list[str]]:
    return [[show(c, k) for c, k in zip(r, table.columns, strict=True)] for r in table.rows]


def test_tables_1_and_2_of_the_paper(paper: Survey) -> None:
    first = shown(build_table(TableName.I, paper))
    assert first[0] == ["none", "10", "98.19", "0.06", "98.08", "98.34"]
    assert first[4] == ["hidden", "10", "98.22", "0.06", "98.15", "98.35"]
    second = shown(build_table(TableName.II, paper))
    assert second[5] == ["output", "10", "19.08", "15.45", "10.10", "63.12"]


def test_table_3_sets_two_architectures_side_by_side(paper: Survey) -> None:
    table = build_table(TableName.III, paper)
    assert shown(table)[3][1:5] == ["10", "11.77", "3.07", "9.84"]
    assert shown(table)[3][6:] == ["10", "10.51", "0.49", "9.73", "11.02"]
    assert "20*20 (23,890 parameters), 21*21 (25,945 parameters)" in table.title


def test_table_4_has_the_printed_parameters(paper: Survey) -> None:
    rows = shown(build_table(TableName.IV, paper))
    assert len(rows) == 98
    assert ["115*115", "1,612,195", "Matched"] in rows
    assert ["2*1", "807", "Asymmetric"] in rows


@pytest.mark.slow
def test_table_5_of_the_paper_but_for_its_scanning_slips(paper: Survey) -> None:
    """A sample of rows, with cells that only come out right when means are taken as it did."""
    rows = {row[0]: row for row in shown(build_table(TableName.V, paper))}
    assert rows["1*1024"][1:7] == [
        *("98.12 ± 0.06", "98.06 ± 0.11", "98.11 ± 0.06"),
        *("98.01 ± 0.10", "98.08 ± 0.04", "97.65 ± 0.12"),
    ]
    assert rows["1*16"][1] == "93.56 ± 0.51"
    assert rows["18*18"][7:] == ["output", "hidden", "all"]
    assert rows["1*512"][9] == "dropout"


def test_where_the_printed_winners_differ(paper: Survey) -> None:
    assert len(PRINTED_WINNERS) == 70
    rows = shown(winner_differences(paper))
    assert [row[0] for row in rows] == ["2*30", "71*71", "56*56", "35*35", "31*31", "25*25"]
    assert rows[0] == ["2*30", "decay", "dropout", "dropout"]


@pytest.mark.parametrize(
    ("dataset", "network"), [("mnist-1d", "mlp"), ("mnist", "resmlp"), ("tiny", "mlp")]
)
def test_the_printed_winners_say_nothing_of_other_networks_and_data(
    paper: Survey, dataset: str, network: str
) -> None:
    spec = {"dataset": dataset, "training": {"network": network}}
    other = replace(paper, source=replace(paper.source, origin={"spec": spec}))
    with pytest.raises(UsageError, match=f"this study has network '{network}' on {dataset}"):
        winner_differences(other)


def test_table_6_gives_every_regime_a_reason(paper: Survey) -> None:
    table = build_table(TableName.VI, paper)
    assert table.notes == [
        "8 beneficial-regularization, 20 optimally-sized, 20 chaotic-optimization, "
        "44 architectural-failure, 6 unclassified"
    ]
    assert all(len(row[3]) > 20 for row in shown(table))


def test_other_rules_drop_in_and_their_probabilities_get_a_column() -> None:
    source = made_source(("1*256", "32*32"))
    complete = build_table(TableName.VI, survey(source, rules=RegimeRules.COMPLETE))
    assert [c.name for c in complete.columns][-2:] == ["regime", "reason"]
    posterior = build_table(TableName.VI, survey(source, rules=RegimeRules.POSTERIOR))
    assert [c.name for c in posterior.columns][-2:] == ["probability", "reason"]


def test_the_data_set_of_a_csv_is_never_a_silent_guess(made: Survey) -> None:
    mixed = survey(replace(made.source, origin={"file": "made.csv"}))
    table = build_table(TableName.IV, mixed)
    assert ["1*256", "203,530", "Matched"] in shown(table)
    assert table.notes[-1] == "The file does not name its data set: parameters are those for MNIST."
    other = made.source.trials["architecture"] == "[2*8, 1*4]"
    foreign = survey(replace(mixed.source, trials=mixed.source.trials[other]))
    table = build_table(TableName.IV, foreign)
    assert shown(table) == [["[2*8, 1*4]", "-", "-"]]
    assert table.notes[-1] == "The file does not name its data set: parameters are unknown."
    facts = [fact.value for fact in production_facts(foreign.source) if fact.label == "data set"]
    assert facts == [
        "not named by the file, and no architecture is the paper's: parameters are unknown"
    ]


def test_targets_name_architectures_of_another_study(made: Survey) -> None:
    table = build_table(TableName.I, made, targets=parse_targets("1*256,[2*8,1*4]"))
    assert [c.name for c in table.columns][1:3] == ["1*256 n", "1*256 mean"]
    assert "[2*8, 1*4]" in table.title
    assert len(table.rows) == 6


def test_an_architecture_that_is_not_there_is_named_with_those_that_are(made: Survey) -> None:
    with pytest.raises(UsageError, match=re.escape("no finished trial of 1*2048 here; choose")):
        build_table(TableName.I, made)
    with pytest.raises(UsageError, match="tables I, II and III only"):
        build_table(TableName.V, made, targets=["1*256"])


def test_few_paired_trials_can_beat_nothing_and_the_table_says_so(made: Survey) -> None:
    table = build_table(TableName.V, made)
    assert table.notes[-1] == "Too few trials: no mode can be beaten; 8 per cell would be needed."
    assert {row[9] for row in shown(table)} == {"all"}


def test_the_training_options_are_those_of_the_spec(made: Survey, paper_trials: Path) -> None:
    rows = shown(build_table(TableName.TRAINING, made))
    assert ["learning rate", "0.0001"] in rows
    csv = survey(open_source(str(paper_trials), zero_r=11.02))
    with pytest.raises(UsageError, match="a CSV does not say how"):
        build_table(TableName.TRAINING, csv)


def test_an_empty_study_has_empty_tables() -> None:
    nothing = survey(empty_source())
    for name in (TableName.IV, TableName.V, TableName.VI):
        assert build_table(name, nothing).rows == []


def test_the_measure_is_the_one_asked_for(made: Survey) -> None:
    test = survey(made.source, Measure.TEST)
    peak, other = made.cells["mean"].iloc[0], test.cells["mean"].iloc[0]
    assert peak - other == pytest.approx(0.2)
    assert "test accuracy" in build_table(TableName.V, test).title
    only_peak = replace(made.source, trials=made.source.trials.drop(columns="test_accuracy"))
    with pytest.raises(DataError, match="no test accuracy"):
        survey(only_peak, Measure.TEST)
