"""``antifragile report`` and ``antifragile compare``: one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from antifragile.analysis.convergence import read_curves_csv
from antifragile.analysis.regimes.words import RegimeRules
from antifragile.analysis.source import Source, open_source
from antifragile.cli.console import stdout
from antifragile.cli.options import ConvergenceOption, RulesOption, SourceArgument, StudyOption
from antifragile.cli.results.source import SourceFlags
from antifragile.report.page.page import write_report

OutOption = Annotated[Path, typer.Option("--out", help="Folder for the page.")]


def report(
    *,
    out: OutOption,
    chosen: SourceFlags,
    rules: RulesOption = "paper",
    convergence: ConvergenceOption = None,
) -> None:
    """Write one HTML page that explores a study; it opens offline, and is one file to send on."""
    _write(chosen.open(), out / "report.html", rules, convergence)


def compare(
    source: SourceArgument,
    other: Annotated[str, typer.Argument(help="What to compare with: a store or a CSV.")],
    out: OutOption,
    study: StudyOption = None,
    other_study: Annotated[
        str | None, typer.Option(help="Name of the study in OTHER.", show_default=False)
    ] = None,
    zero_r: Annotated[
        float | None,
        typer.Option(
            min=0, max=100, help="ZeroR accuracy in percent of a CSV; stores know theirs."
        ),
    ] = None,
    rules: RulesOption = "paper",
    convergence: ConvergenceOption = None,
) -> None:
    """Write the page of SOURCE with a cell by cell comparison against OTHER."""
    opened, compared = (
        open_source(where, study=name, zero_r=zero_r if where.lower().endswith(".csv") else None)
        for where, name in ((source, study), (other, other_study))
    )
    _write(opened, out / "compare.html", rules, convergence, compared)


def _write(
    source: Source, file: Path, rules: str, convergence: Path | None, other: Source | None = None
) -> None:
    path = write_report(
        source,
        file,
        rules=RegimeRules(rules),
        records=None if convergence is None else read_curves_csv(convergence, zero_r=source.zero_r),
        other=other,
    )
    stdout().print(str(path), soft_wrap=True)
