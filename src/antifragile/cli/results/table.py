"""``antifragile table``: the paper's tables from any study or CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from antifragile.cli.console import stdout
from antifragile.cli.options import (
    MeasureOption,
    RulesOption,
    SourceArgument,
    StudyOption,
    ZeroROption,
)
from antifragile.cli.results.source import read_source
from antifragile.errors import UsageError
from antifragile.report.tables.names import TableName

# pandas, torch and scipy are imported inside the verbs that need them, so that --help is quick.
if TYPE_CHECKING:
    from antifragile.report.survey import Survey


def table(
    name: Annotated[
        TableName,
        typer.Argument(
            help="I-III: one architecture; IV: parameters; V: means and winners; VI: regimes; "
            "training: options of the inner loop."
        ),
    ],
    source: SourceArgument,
    study: StudyOption = None,
    zero_r: ZeroROption = None,
    measure: MeasureOption = "peak",
    rules: RulesOption = "paper",
    targets: Annotated[
        str | None,
        typer.Option(help="Architectures of tables I-III, as in 20*20,21*21.", show_default=False),
    ] = None,
    printed: Annotated[
        bool, typer.Option("--printed", help="V: list where the paper's printed winners differ.")
    ] = False,
    format_: Annotated[
        Literal["rich", "markdown", "latex", "csv"], typer.Option("--format", help="How.")
    ] = "rich",
) -> None:
    """Print one of the paper's tables, computed from a study or a CSV."""
    from antifragile.report.table import as_csv, as_latex, as_markdown, as_rich
    from antifragile.report.tables.paper import build_table, winner_differences
    from antifragile.report.targets import parse_targets

    if printed and name is not TableName.V:
        raise UsageError(f"--printed compares winners, which table {name} does not have; use V.")
    read = open_survey(source, study=study, zero_r=zero_r, measure=measure, rules=rules)
    named = parse_targets(targets) if targets is not None else []
    built = winner_differences(read) if printed else build_table(name, read, targets=named)
    if format_ == "rich":
        stdout().print(as_rich(built))
        return
    write = {"markdown": as_markdown, "latex": as_latex, "csv": as_csv}[format_]
    print(write(built), end="")


def open_survey(
    source: str,
    *,
    study: str | None,
    zero_r: float | None,
    measure: str = "peak",
    rules: str = "paper",
) -> Survey:
    """Open a source and read it, as every verb of this stage does."""
    from antifragile.analysis.regimes.words import RegimeRules
    from antifragile.analysis.summary import Measure
    from antifragile.report.survey import survey

    return survey(read_source(source, study, zero_r), Measure(measure), rules=RegimeRules(rules))
