"""``antifragile ablate report``: what each component was worth, as text or a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from antifragile._files import write_output
from antifragile.ablate.command.written import remember_report
from antifragile.ablate.study.repeat import changed_variants, read_manifest
from antifragile.ablate.study.results import read_results
from antifragile.cli.console import stdout
from antifragile.report.ablation.page import write_ablation_page
from antifragile.report.ablation.tables import ablation_tables
from antifragile.report.table import as_latex, as_markdown, as_rich


def report(
    source: Annotated[
        str, typer.Argument(help="A folder of variants, a manifest, or a store's file or URL.")
    ],
    format_: Annotated[
        Literal["rich", "markdown", "latex", "html"], typer.Option("--format", help="How.")
    ] = "rich",
    out: Annotated[
        Path | None, typer.Option(help="File to write, or folder for the page.", show_default=False)
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="Name of the study, if a store has several.")
    ] = None,
) -> None:
    """Say what each component was worth: contributions with intervals, placebo first."""
    manifest, folder = read_manifest(source, study)
    results = read_results(manifest, changed_variants(manifest, folder))
    if format_ == "html":
        place = write_ablation_page(results, (out or folder) / "ablation.html", folder)
        remember_report(place)
        stdout().print(str(place), soft_wrap=True)
        return
    tables = ablation_tables(results)
    if format_ == "rich" and out is None:
        for table in tables:
            stdout().print(as_rich(table))
            stdout().print()
        return
    write = as_latex if format_ == "latex" else as_markdown
    text = "\n".join(write(table) for table in tables)
    if out is None:
        print(text, end="")
    else:
        write_output(out, text.encode())
        remember_report(out)
        stdout().print(str(out), soft_wrap=True)
