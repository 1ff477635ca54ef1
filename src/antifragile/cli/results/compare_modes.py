"""``antifragile compare-modes``: every mode against the control, with corrected p values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any, Literal

import pandas as pd
import typer

from antifragile.analysis.inference.comparisons import (
    Comparisons,
    FamilyScope,
    compare_with_control,
)
from antifragile.analysis.summary import Measure
from antifragile.cli.console import plain_table, print_json, stdout
from antifragile.cli.options import JsonOption, MeasureOption
from antifragile.cli.results.source import SourceFlags


def compare_modes(
    *,
    control: Annotated[str, typer.Option(help="The mode compared with.")] = "none",
    chosen: SourceFlags,
    measure: MeasureOption = "peak",
    family: Annotated[
        Literal["all", "architecture", "mode"],
        typer.Option(help="Over which comparisons p values are corrected."),
    ] = "all",
    alpha: Annotated[float, typer.Option(min=1e-6, max=0.5, help="Level of the verdicts.")] = 0.05,
    margin: Annotated[
        float, typer.Option(min=1e-6, max=100, help="Of equivalence, percentage points.")
    ] = 0.5,
    as_json: JsonOption = False,
) -> None:
    """Compare every mode with the control: difference, interval, effect size, p values."""
    if chosen.zero_r is None:
        chosen = replace(chosen, zero_r=math.nan)  # hardly of use here, so a CSV need not say it
    opened = chosen.open(with_records=False)
    compared = compare_with_control(
        opened.trials,
        paired=opened.paired,
        control=control,
        measure=Measure(measure),
        family=FamilyScope(family),
        alpha=alpha,
        margin=margin,
    )
    if as_json:
        print_json(_as_plain(compared))
        return
    kind = "paired trials" if opened.paired else "independent trials"
    _print(compared, f"{opened.name}: {measure} accuracy against {control}, {kind}")


def _as_plain(compared: Comparisons) -> dict[str, Any]:
    rows = [
        {
            str(key): None if isinstance(value, float) and math.isnan(value) else value
            for key, value in row.items()
        }
        for row in compared.table.to_dict(orient="records")
    ]
    return {
        "alpha": compared.alpha,
        "margin": compared.margin,
        "families": [
            {
                "name": family.name,
                "n_tests": family.n_tests,
                "n_identical": family.n_identical,
                "first_threshold": family.first_threshold,
                "smallest_p": None if math.isnan(family.smallest_p) else family.smallest_p,
                "can_show": family.can_show,
                "trials_needed": family.trials_needed,
                "words": family.words,
            }
            for family in compared.families
        ],
        "comparisons": rows,
    }


def _print(compared: Comparisons, title: str) -> None:
    if compared.table.empty:
        stdout().print("no architecture has trials of the control and of another mode.")
        return
    interval = f">{1 - compared.alpha:.0%} interval"
    effects = (">n", ">difference", interval, ">effect size", ">p", ">Holm", ">BH", ">smallest p")
    headings = ("architecture", "mode", *effects, "verdict")
    table = plain_table(*headings, title=title, no_wrap=headings)
    for _, row in compared.table.iterrows():
        table.add_row(*_cells(row))
    stdout().print(table)
    for family in compared.families:
        stdout().print(family.words, soft_wrap=True)
    counts = compared.table["verdict"].value_counts()
    stdout().print(
        ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        + f"; higher and lower by Holm at {compared.alpha:g}, equivalent within "
        f"{compared.margin:g} points (TOST, Holm).",
        soft_wrap=True,
    )


def _cells(row: pd.Series) -> list[str]:
    if row["verdict"] == "identical":
        numbers = ["0", "", "", "", "", "", ""]
    else:
        numbers = [
            f"{row['difference']:+.2f}",
            _span(row["low"], row["high"]),
            "-" if math.isnan(row["size"]) else f"{row['size']:+.2f}",
            *(f"{row[column]:.2g}" for column in ("p", "p_holm", "p_bh", "smallest_p")),
        ]
    n = str(row["n"]) if row["n"] == row["n_control"] else f"{row['n']} v {row['n_control']}"
    return [row["architecture"], row["mode"], n, *numbers, row["verdict"]]


def _span(low: float, high: float) -> str:
    return "-" if math.isnan(low) else f"{low:+.2f} to {high:+.2f}"
