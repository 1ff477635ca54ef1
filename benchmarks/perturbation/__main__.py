"""Run an experiment on perturbed equations, or list them.

python -m benchmarks.perturbation [NAME] [--seeds 10] [--quick] [--out FOLDER] [--workers 2]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from antifragile._files import make_folder, write_atomically
from antifragile.cli.console import plain_table, print_json, stderr, stdout
from antifragile.cli.errors import run_command
from antifragile.cli.options import DataDirOption, JsonOption
from antifragile.report.style import save_figure
from antifragile.report.table import as_markdown, as_rich
from benchmarks.perturbation.experiments.registry import EXPERIMENTS, run_experiment
from benchmarks.perturbation.records import BenchResult, BenchSettings
from benchmarks.perturbation.report.figures import bench_figure
from benchmarks.perturbation.report.tables import bench_table

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command()
def perturbation(
    name: Annotated[
        str | None, typer.Argument(help="Which experiment.", show_default="list them")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs per row.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for NAME.png, NAME.md, the numbers as CSV, and finished parts, from "
            "which the same command goes on.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A short form; its numbers are no results.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes, one thread each.")] = 1,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run an experiment: a table, a figure, and its cost in gradients and in seconds.

    The grids are fixed in the code; every method with a number to choose has the same budget.
    """
    if name is None:
        _list(as_json)
        return
    settings = BenchSettings(
        seeds=seeds,
        quick=quick,
        data_dir=data_dir,
        workers=workers,
        folder=out,
        say=lambda line: stderr().print(line, markup=False, soft_wrap=True),
    )
    if out is not None:
        make_folder(out)
    result = run_experiment(name, settings)
    if out is not None:
        _write(result, out)
    if as_json:
        print_json(_as_plain(result))
    else:
        stdout().print(as_rich(bench_table(result)))


def _list(as_json: bool) -> None:
    if as_json:
        print_json(
            {
                one.name: {"question": one.question, "minutes": one.minutes}
                for one in EXPERIMENTS.values()
            }
        )
        return
    table = plain_table(
        *("experiment", ">CPU minutes", "question"),
        title="experiments: python -m benchmarks.perturbation NAME",
        no_wrap=("experiment",),
    )
    for one in EXPERIMENTS.values():
        table.add_row(one.name, f"{one.minutes:g}", one.question)
    stdout().print(table)


def _write(result: BenchResult, folder: Path) -> None:
    texts = {
        f"{result.name}.md": as_markdown(bench_table(result)),
        f"{result.name}-rows.csv": result.rows.to_csv(index=False),
        f"{result.name}-runs.csv": result.runs.to_csv(index=False),
    }
    if len(result.curves):
        texts[f"{result.name}-curves.csv"] = result.curves.to_csv(index=False)
    for file, text in texts.items():
        write_atomically(folder / file, text.encode())
    save_figure(bench_figure(result), folder / f"{result.name}.png")
    stderr().print(f"wrote {result.name}.png, {', '.join(texts)} to {folder}", markup=False)


def _as_plain(result: BenchResult) -> dict[str, Any]:
    """Turn a result into plain values; a number that is NaN or infinite is null."""
    return {
        "name": result.name,
        "grids": result.grids,
        "rows": json.loads(result.rows.to_json(orient="records", double_precision=15)),
        "notes": list(result.notes),
        "gradient_evaluations": result.gradient_evaluations,
        "seconds": result.seconds,
        "cpu_seconds": result.cpu_seconds,
    }


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    return run_command(app, arguments, program="python -m benchmarks.perturbation")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
