"""``antifragile figure``: the paper's figures from any study or CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from antifragile.analysis.convergence import read_curves_csv
from antifragile.cli.console import stderr
from antifragile.cli.options import ConvergenceOption
from antifragile.cli.results.source import SurveyFlags
from antifragile.errors import UsageError
from antifragile.report.figures.names import FigureName
from antifragile.report.figures.registry import draw_figure
from antifragile.report.style import save_figure
from antifragile.report.targets import parse_targets


def figure(
    *,
    name: Annotated[FigureName, typer.Argument(help="Which figure.")],
    chosen: SurveyFlags,
    targets: Annotated[
        str | None,
        typer.Option(
            help="Rows of convergence and robustness, as in 1*2048,18*18.",
            show_default="one per regime",
        ),
    ] = None,
    convergence: ConvergenceOption = None,
    out: Annotated[
        Path | None, typer.Option(help="A .png or .svg file.", show_default="NAME.png")
    ] = None,
) -> None:
    """Draw one of the paper's figures, from a study or a CSV, as PNG or SVG."""
    path = out if out is not None else Path(f"{name}.png")
    if path.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"--out {path} is neither .png nor .svg; choose one of these endings.")

    read = chosen.survey()
    zero_r = read.source.zero_r
    drawn = draw_figure(
        name,
        read,
        targets=parse_targets(targets) if targets is not None else [],
        records=None if convergence is None else read_curves_csv(convergence, zero_r=zero_r),
    )
    save_figure(drawn, path)
    stderr().print(f"wrote {path}")
