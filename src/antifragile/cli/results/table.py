"""``antifragile table``: the paper's tables from any study or CSV."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from antifragile.cli.console import stdout
from antifragile.cli.results.source import SurveyFlags
from antifragile.errors import UsageError
from antifragile.report.table import as_csv, as_latex, as_markdown, as_rich
from antifragile.report.tables.names import TableName
from antifragile.report.tables.paper import build_table, winner_differences
from antifragile.report.targets import parse_targets


def table(
    *,
    name: Annotated[
        TableName,
        typer.Argument(
            help="I-III: one architecture; IV: parameters; V: means and winners; VI: regimes; "
            "training: options of the inner loop."
        ),
    ],
    chosen: SurveyFlags,
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
    if printed and name is not TableName.V:
        raise UsageError(f"--printed compares winners, which table {name} does not have; use V.")
    read = chosen.survey(with_records=False)
    named = parse_targets(targets) if targets is not None else []
    built = winner_differences(read) if printed else build_table(name, read, targets=named)
    if format_ == "rich":
        stdout().print(as_rich(built))
        return
    write = {"markdown": as_markdown, "latex": as_latex, "csv": as_csv}[format_]
    print(write(built), end="")
