"""``antifragile size``: is a network over- or under-sized, read off the harm of ablation."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from antifragile.analysis.capacity import SizeAdvice, advise_size
from antifragile.analysis.summary import Measure
from antifragile.cli.console import plain_table, print_json, stdout
from antifragile.cli.options import JsonOption, MeasureOption
from antifragile.cli.results.source import SourceFlags
from antifragile.config.networks import Network


def size(
    *,
    chosen: SourceFlags,
    measure: MeasureOption = "peak",
    inputs: Annotated[int, typer.Option(min=1, max=10**9, help="Inputs of the data set.")] = 784,
    classes: Annotated[int, typer.Option(min=2, max=10**9, help="Classes of the data set.")] = 10,
    network: Annotated[
        Literal["mlp", "resmlp"] | None,
        typer.Option(help="The kind of network.", show_default="the study's; a CSV's: mlp"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say from the harm of ablation how large each network really is, with an interval."""
    opened = chosen.open()
    advice = advise_size(
        opened,
        measure=Measure(measure),
        n_inputs=inputs,
        n_classes=classes,
        network=None if network is None else Network(network),
    )
    if as_json:
        frame = advice.table.astype(object).where(advice.table.notna(), None)
        print_json(
            {
                "intercept": advice.intercept,
                "slope": advice.slope,
                "slope_interval": advice.slope_interval,
                "r_squared": advice.r_squared,
                "rows": advice.rows,
                "reference_parameters": advice.reference_parameters,
                "errors": [asdict(error) for error in advice.errors],
                "left_out": advice.left_out,
                "architectures": frame.to_dict(orient="records"),
            }
        )
        return
    _print(advice, f"{opened.name}: size by the harm of ablation, {measure} accuracy")


def _print(advice: SizeAdvice, title: str) -> None:
    numbers = (">parameters", ">harm", ">behaves like 1*W of", ">95 % interval", ">of reference")
    table = plain_table(
        "architecture", *numbers, "advice", title=title, no_wrap=("architecture", "advice")
    )
    for row in advice.table.to_dict(orient="records"):
        table.add_row(
            row["architecture"],
            f"{row['parameters']:,}",
            f"{row['harm']:+.2f}",
            f"{row['effective_parameters']:,.0f}",
            f"{row['low']:,.0f} to {row['high']:,.0f}",
            f"{row['ratio']:.2g} ({row['ratio_low']:.2g} to {row['ratio_high']:.2g})",
            row["advice"] + (" (fitted)" if row["fitted"] else ""),
        )
    stdout().print(table)
    low, high = advice.slope_interval
    lines = [
        f"fit on {advice.rows} rows of 1*W: log2 parameters = {advice.intercept:.2f} "
        f"{advice.slope:+.2f} log2 harm (slope {low:+.2f} to {high:+.2f}, "
        f"R2 {advice.r_squared:.2f})",
        f"reference: {advice.reference_parameters:,.0f} parameters, where harm passes 0.5 points",
        *(
            f"error on {error.shapes} of {error.family}: {error.rms_doublings:.2f} doublings "
            f"(bias {error.bias_doublings:+.2f}), {error.coverage:.0%} of intervals hold the size"
            for error in advice.errors
        ),
        *(["no advice: " + ", ".join(advice.left_out)] if advice.left_out else []),
    ]
    stdout().print("\n".join(lines), soft_wrap=True)
