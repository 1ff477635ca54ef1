"""The arguments and options that several verbs share, each with its one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

DEFAULT_STORE = "antifragile.db"

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
RulesOption = Annotated[
    Literal["paper", "complete", "posterior"],
    typer.Option("--rules", help="Which rules name the regimes."),
]
ConvergenceOption = Annotated[
    Path | None,
    typer.Option(
        help="CSV with architecture, mode, meta_loop, validation_accuracy, for a source without "
        "meta-loop records.",
        show_default=False,
    ),
]
StoreOption = Annotated[
    str,
    typer.Option("--store", help="SQLite file, or URL as in postgresql://user@host/name."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Worker processes.",
        show_default="one per core, 1 when it is quickly done",
    ),
]
EngineOption = Annotated[
    Literal["fleet", "plain"],
    typer.Option(help="fleet: many trials at once; plain: the readable reference."),
]
NetworkOption = Annotated[
    Literal["mlp", "resmlp"], typer.Option(help="The kind of network that a shape names.")
]
PrecisionOption = Annotated[
    Literal["fp32", "bf16"], typer.Option(help="Of products; master weights stay float32.")
]
BudgetOption = Annotated[
    float,
    typer.Option(
        "--memory-budget",
        min=0,
        max=1e9,
        help="GiB for data and buffers of all workers.",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or mps.")]
DataDirOption = Annotated[
    Path | None, typer.Option(help="Where to look for data files first.", show_default=False)
]
