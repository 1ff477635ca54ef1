"""What the verbs of analysis share: the SOURCE argument and its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from antifragile.analysis import Source

SourceArgument = Annotated[
    str, typer.Argument(help="A store (file or URL), or a CSV of trials.", metavar="SOURCE")
]
StudyOption = Annotated[
    str | None, typer.Option("--study", help="Name; not needed when the store has one study.")
]
ZeroROption = Annotated[
    float | None,
    typer.Option(
        "--zero-r",
        min=0,
        max=100,
        help="ZeroR accuracy of the validation split, percent; a CSV does not say it.",
        show_default="the data set's",
    ),
]
MeasureOption = Annotated[
    Literal["peak", "final", "test"], typer.Option("--measure", help="Which accuracy of a trial.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def read_source(
    where: str, study: str | None, zero_r: float | None, *, needs_zero_r: bool = True
) -> Source:
    """Open a SOURCE; a verb that makes no use of ZeroR does not insist on it for a CSV.

    Raises:
        UsageError: As `antifragile.analysis.open_source`.
    """
    from antifragile.analysis import open_source

    if zero_r is None and not needs_zero_r and where.lower().endswith(".csv"):
        zero_r = 0.0
    return open_source(where, study=study, zero_r=zero_r)
