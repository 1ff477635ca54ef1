"""Time plain PyTorch, tuned PyTorch and the fleet on this machine.

python -m benchmarks.speed [--arch NAME ...] [--precision bf16] [--threads 2] [--json]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from antifragile.cli.console import plain_table, print_json, stderr, stdout
from antifragile.cli.errors import run_command
from antifragile.cli.options import DataDirOption, JsonOption
from antifragile.config.architecture import Architecture
from antifragile.data.datasets import load_dataset
from benchmarks.speed.bench import BENCH_ARCHITECTURES, BenchReport, BenchRow, bench

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command()
def speed(
    arch: Annotated[
        list[str] | None, typer.Option(help="May be repeated.", show_default="a set of 18")
    ] = None,
    dataset: Annotated[str, typer.Option(help="What to train on.")] = "mnist",
    threads: Annotated[int, typer.Option(min=1, help="For all contestants alike.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; the best time counts.")] = 2,
    precision: Annotated[
        Literal["fp32", "bf16"],
        typer.Option(help="Precision of the fleet; bf16 is timed beside fp32."),
    ] = "fp32",
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time plain PyTorch, tuned PyTorch and the fleet in turn; project the paper's study.

    Seconds are per trial and meta-loop, validation included. `plain` is what a PyTorch user
    writes (DataLoader, autograd, AdamW), `tuned` what an expert writes for one model (tensor
    indexing, fused AdamW, denormals flushed). Very deep shapes are timed on 20 batches and scaled.
    """
    architectures = [Architecture.parse(name) for name in arch or BENCH_ARCHITECTURES]
    data = load_dataset(dataset, data_dir=data_dir, progress=True)
    for architecture in architectures:
        architecture.check_fits_in_memory(data.n_inputs, data.n_classes)
    turns = bench(architectures, data, threads=threads, repeats=repeats, precision=precision)
    for item in turns:
        if not isinstance(item, BenchReport):
            stderr().print(_line(item), markup=False, soft_wrap=True)
        elif as_json:
            print_json(asdict(item))
        else:
            _print_table(item)
            _print_summary(item, threads)


def _line(row: BenchRow) -> str:
    return (
        f"{row.architecture}: plain {row.plain_s:.4g} s, fleet {row.fleet_s:.4g} s "
        f"(fp32 {row.fleet_fp32_s:.4g} s)"
    )


def _print_table(report: BenchReport) -> None:
    fleets = (">fleet",) if report.precision == "fp32" else (">fp32 fleet", ">bf16 fleet")
    ratios = (">plain/fleet", ">tuned/fleet", ">GFLOP/s", ">of peak")
    table = plain_table(
        *("architecture", ">plain", ">tuned", *fleets, ">unpaired", *ratios),
        title="seconds per trial and meta-loop, validation included",
    )
    for row in report.rows:
        own = [row.fleet_s] if report.precision == "fp32" else [row.fleet_fp32_s, row.fleet_s]
        seconds = (row.plain_s, row.tuned_s, *own, row.fleet_independent_s)
        table.add_row(
            row.architecture,
            *(f"{value:.4g}" for value in seconds),
            f"{row.ratio:.1f}",
            f"{row.tuned_ratio:.1f}",
            f"{row.gflops:.0f}",
            f"{100 * row.peak_share:.0f} %",
        )
    stdout().print(table)


def _print_summary(report: BenchReport, threads: int) -> None:
    hours = report.projected_hours
    stdout().print(
        f"\ngeometric mean of plain/fleet {report.geometric_mean_ratio:.1f}; matrix peak "
        f"{report.peak_gflops:.0f} GFLOP/s with {threads} threads\nthe paper's study "
        f"(98 x 6 x 10 x 100) on this machine: {hours['paired']:.1f} h paired "
        f"({hours['paired_all_trained']:.1f} h were decay, which rounds away, trained too), "
        f"{hours['independent']:.1f} h independent (projected from these rows)"
        + (f"; in fp32 {hours['paired_fp32']:.1f} h paired" if "paired_fp32" in hours else "")
    )


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    return run_command(app, arguments, program="python -m benchmarks.speed")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
