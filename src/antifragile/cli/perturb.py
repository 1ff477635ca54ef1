"""``antifragile perturb``: experiments on perturbed equations, and the presets by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from antifragile.cli.console import plain_table, print_json, stderr, stdout
from antifragile.cli.options import DataDirOption, JsonOption

if TYPE_CHECKING:
    from benchmarks.perturbation.records import BenchResult

app = typer.Typer(
    help="Perturbed equations: what there is, and experiments that show what it does.",
    no_args_is_help=True,
)


@app.command("list")
def list_presets(as_json: JsonOption = False) -> None:
    """List the presets and the experiments."""
    from benchmarks.perturbation.experiments import EXPERIMENTS

    from antifragile.optim import presets

    about = {name: _first_line(make.__doc__) for name, make in presets.PRESETS.items()}
    if as_json:
        experiments = {
            one.name: {"question": one.question, "minutes": one.minutes}
            for one in EXPERIMENTS.values()
        }
        print_json({"presets": about, "experiments": experiments})
        return
    table = plain_table("presets: antifragile.perturb(optimizer, *presets.NAME())")
    table.add_column("preset", no_wrap=True)
    table.add_column("what it does")
    for name, line in about.items():
        table.add_row(name, line)
    stdout().print(table)
    table = plain_table("\nexperiments: antifragile perturb bench NAME")
    table.add_column("experiment", no_wrap=True)
    table.add_column("CPU minutes", justify="right")
    table.add_column("question")
    for one in EXPERIMENTS.values():
        table.add_row(one.name, f"{one.minutes:g}", one.question)
    stdout().print(table)


@app.command("bench")
def bench(
    name: Annotated[str, typer.Argument(help="Which experiment; see 'antifragile perturb list'.")],
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
    from benchmarks.perturbation.experiments import run_experiment
    from benchmarks.perturbation.records import BenchSettings

    from antifragile._files import make_folder

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
        return
    from benchmarks.perturbation.tables import bench_table

    from antifragile.report.table import as_rich

    stdout().print(as_rich(bench_table(result)))


def _write(result: BenchResult, folder: Path) -> None:
    from benchmarks.perturbation.figures import bench_figure
    from benchmarks.perturbation.tables import bench_table

    from antifragile._files import write_atomically
    from antifragile.report.style import save_figure
    from antifragile.report.table import as_markdown

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
    """Plain values; what is no number in the rows is null."""
    return {
        "name": result.name,
        "grids": result.grids,
        "rows": json.loads(result.rows.to_json(orient="records", double_precision=15)),
        "notes": list(result.notes),
        "gradient_evaluations": result.gradient_evaluations,
        "seconds": result.seconds,
        "cpu_seconds": result.cpu_seconds,
    }


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0] if text else ""
