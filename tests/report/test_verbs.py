"""``table``, ``figure``, ``report`` and ``compare`` at the command line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from antifragile.cli.lazy import with_flags
from antifragile.cli.results.figure import figure
from antifragile.cli.results.report import compare, report
from antifragile.cli.results.table import table
from antifragile.errors import AntifragileError, DataError, UsageError
from antifragile.report.figures.names import FigureName
from antifragile.report.figures.registry import FIGURES
from antifragile.report.tables.names import TableName
from tests.report.stored_studies import fill_store, finished_trials, made_curves, made_spec

SHAPES = ("1*256", "4*4", "32*32")
MODES = ("none", "decay", "dropout", "full", "hidden", "output")


def call(verb: Callable[..., None], *arguments: object) -> str:
    app = typer.Typer()
    app.command()(with_flags(verb))
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, AntifragileError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def trials_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "made.csv"
    frame = finished_trials(made_curves(SHAPES))
    frame[["architecture", "mode", "trial", "peak_validation_accuracy"]].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "made.db"
    fill_store(path, made_spec("small", SHAPES, MODES, trials=2, meta_loops=4))
    return path


def test_the_choices_of_the_verbs_are_all_there_is() -> None:
    for verb, names in ((table, TableName), (figure, FigureName)):
        assert get_type_hints(verb)["name"] is names
    assert list(FIGURES) == list(FigureName)


def test_tables_of_a_store_and_of_a_csv(store: Path, trials_csv: Path) -> None:
    rows = list(csv.reader(io.StringIO(call(table, "V", store, "--format", "csv"))))
    assert rows[0][:3] == ["architecture", "none", "none sd"]
    assert [row[0] for row in rows[1:]] == list(SHAPES)
    text = call(table, "I", trials_csv, "--zero-r", 11.02, "--targets", "1*256")
    assert text.startswith("made: peak validation accuracy of 1*256 (203,530 parameters)")
    assert "| 1\\*256 |" in call(table, "VI", store, "--format", "markdown", "--rules", "complete")
    assert r"\begin{longtable}" in call(table, "IV", store, "--format", "latex")
    assert "2*30" not in call(table, "V", store, "--printed")


def test_wrong_wishes_are_refused(store: Path, trials_csv: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--printed compares winners, which table IV does not"):
        call(table, "IV", store, "--printed")
    with pytest.raises(DataError, match="--measure peak"):
        call(table, "V", trials_csv, "--zero-r", 11.02, "--measure", "test")
    with pytest.raises(UsageError, match=r"neither \.png nor \.svg"):
        call(figure, "regimes", store, "--out", tmp_path / "x.pdf")
    with pytest.raises(UsageError, match="as in --zero-r 11"):
        call(report, trials_csv, "--out", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_figure_goes_where_it_is_told(store: Path, tmp_path: Path) -> None:
    call(figure, "convergence", store, "--targets", "4*4", "--out", tmp_path / "c.svg")
    assert (tmp_path / "c.svg").read_text().startswith("<?xml")


def test_a_page_and_a_comparison(store: Path, trials_csv: Path, tmp_path: Path) -> None:
    said = call(report, store, "--out", tmp_path / "out")
    assert said.strip() == str(tmp_path / "out" / "report.html")
    assert "<h1>small</h1>" in Path(said.strip()).read_text()
    said = call(compare, store, trials_csv, "--zero-r", 11.02, "--out", tmp_path)
    assert "<h1>small against made</h1>" in Path(said.strip()).read_text()
