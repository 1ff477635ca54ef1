"""Harm of one ablation in figure, table and page."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from antifragile.errors import UsageError
from antifragile.report.figures.names import FigureName
from antifragile.report.figures.registry import draw_figure
from antifragile.report.page.tables import harm_table, page_tables
from antifragile.report.survey import Survey, survey
from tests.report.stored_studies import made_source


@pytest.fixture(scope="module")
def made() -> Survey:
    return survey(made_source(trials=2))


def without_harm(made: Survey) -> Survey:
    records = made.source.meta_loops
    assert records is not None
    nothing = records.assign(ablated_accuracy=float("nan"))
    return replace(made, source=replace(made.source, meta_loops=nothing))


def test_the_figure_has_a_panel_per_ablative_mode(made: Survey) -> None:
    drawn = draw_figure(FigureName.HARM, made)
    assert [axes.get_title(loc="left") for axes in drawn.axes] == ["full", "hidden", "output"]
    at_once, left = drawn.axes[0].lines[1:3]  # after the line at zero
    assert len(at_once.get_xdata()) == len(left.get_xdata()) == len(made.landscape)
    assert at_once.get_ydata() == pytest.approx(2.15)  # 2.1 and 2.2 points in two trials


def test_the_table_has_a_row_per_ablated_cell_smallest_network_first(made: Survey) -> None:
    table = harm_table(made)
    names = [column.name for column in table.columns]
    rows = [dict(zip(names, row, strict=True)) for row in table.rows]
    assert len(rows) == 3 * len(made.landscape)
    assert [row["parameters"] for row in rows] == sorted(row["parameters"] for row in rows)
    assert {row["mode"] for row in rows} == {"full", "hidden", "output"}
    for row in rows:
        assert (row["n"], row["ablations"]) == (2, 14)
        assert row["drop"] == pytest.approx(2.15)
        assert row["left"] == pytest.approx(row["drop"] - row["recovery"])


def test_unfinished_trials_do_not_count(made: Survey) -> None:
    first = made.source.trials["trial"] == 1
    partial = replace(made, source=replace(made.source, trials=made.source.trials[first]))
    assert {row[3] for row in harm_table(partial).rows} == {1}


def test_the_page_has_a_section_only_where_it_was_measured(made: Survey) -> None:
    assert "harm" in [key for key, _, _ in page_tables(made)]
    assert "harm" not in [key for key, _, _ in page_tables(without_harm(made))]


def test_without_records_of_it_one_sentence_says_how_to_get_them(made: Survey) -> None:
    with pytest.raises(UsageError, match=r"run a study with \[evaluate\] harm = true"):
        draw_figure(FigureName.HARM, without_harm(made))
    nothing_finished = replace(made.source, trials=made.source.trials.iloc[:0])
    with pytest.raises(UsageError, match="no finished trial yet"):
        draw_figure(FigureName.HARM, replace(made, source=nothing_finished))
    csv = replace(made, source=replace(made.source, meta_loops=None))
    with pytest.raises(UsageError, match="no meta-loop records"):
        draw_figure(FigureName.HARM, csv)
    assert isinstance(made.source.meta_loops, pd.DataFrame)
