"""``antifragile report`` and ``antifragile compare``: one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from antifragile.analysis.convergence import read_curves_csv
from antifragile.analysis.regimes.words import RegimeRules
from antifragile.analysis.source import Source
from antifragile.cli.console import stdout
from antifragile.cli.options import (
    ConvergenceOption,
    RulesOption,
    SourceArgument,
    StudyOption,
    ZeroROption,
)
from antifragile.cli.results.source import read_source
from antifragile.report.page.page import write_report

OutOption = Annotated[Path, typer.Option("--out", help="Folder for the page.")]


def report(
    source: SourceArgument,
    out: OutOption,
    study: StudyOption = None,
    zero_r: ZeroROption = None,
    rules: RulesOption = "paper",
    convergence: ConvergenceOption = None,
) -> None:
    """Write one HTML page that explores a study; it opens offline, and is one file to send on."""
    path = write_report(
        read_source(source, study, zero_r),
        out / "report.html",
        rules=RegimeRules(rules),
        records=read_curves_csv(convergence) if convergence is not None else None,
    )
    stdout().print(str(path), markup=False, soft_wrap=True)


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
        typer.Option(help="ZeroR accuracy in percent of a CSV; stores know theirs."),
    ] = None,
    rules: RulesOption = "paper",
    convergence: ConvergenceOption = None,
) -> None:
    """Write the page of SOURCE with a cell by cell comparison against OTHER."""

    def opened(where: str, name: str | None) -> Source:
        return read_source(where, name, zero_r if _is_csv(where) else None)

    path = write_report(
        opened(source, study),
        out / "compare.html",
        rules=RegimeRules(rules),
        records=read_curves_csv(convergence) if convergence is not None else None,
        other=opened(other, other_study),
    )
    stdout().print(str(path), markup=False, soft_wrap=True)


def _is_csv(where: str) -> bool:
    return where.lower().endswith(".csv")
