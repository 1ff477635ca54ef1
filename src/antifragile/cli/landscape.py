"""``antifragile landscape``: the paper's 98 architectures."""

from __future__ import annotations

from typing import Annotated

import typer

from antifragile.cli.console import plain_table, print_json, stdout
from antifragile.cli.options import JsonOption
from antifragile.config.landscape import PAPER_LANDSCAPE, matching_table


def landscape(
    matching: Annotated[
        bool, typer.Option("--matching", help="Printed widths beside those of equation 2.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the paper's 98 architectures with their parameters on MNIST."""
    if matching:
        _matching(as_json)
        return
    if as_json:
        print_json(
            [
                {
                    "architecture": entry.architecture.name,
                    "parameters": entry.parameters,
                    "matched": entry.matched,
                }
                for entry in PAPER_LANDSCAPE
            ]
        )
        return
    table = plain_table("architecture", ">parameters", "parameter matching")
    for entry in PAPER_LANDSCAPE:
        label = entry.label + (" (inferred)" if entry.inferred else "")
        table.add_row(entry.architecture.name, f"{entry.parameters:,}", label)
    stdout().print(table)
    stdout().print(
        "inferred: the row is missing from the text of Table IV; its label follows from the "
        "paper's rules."
    )


def _matching(as_json: bool) -> None:
    rows = matching_table()
    if as_json:
        print_json(
            [
                {
                    "architecture": row.architecture.name,
                    "matched_to": row.base.name,
                    "equation_width": row.equation_width,
                    "mismatch_percent": row.mismatch_percent,
                }
                for row in rows
            ]
        )
        return
    table = plain_table("architecture", "matched to", ">printed width", ">eq. 2 width", "mismatch")
    for row in rows:
        table.add_row(
            row.architecture.name,
            row.base.name,
            str(row.architecture.blocks[0][1]),
            f"{row.equation_width:.2f}",
            f"{row.mismatch_percent:+.2f} %",
        )
    stdout().print(table)
    stdout().print("mismatch: parameters of the architecture against the one it is matched to.")
