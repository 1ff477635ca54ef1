"""``antifragile bench``: this machine's speed against the rates that `study plan` predicts from."""

from __future__ import annotations

from dataclasses import asdict
from statistics import geometric_mean
from typing import Annotated, Literal

import typer

from antifragile.cli.console import plain_table, print_json, stderr, stdout
from antifragile.cli.options import DataDirOption, JsonOption, NetworkOption
from antifragile.config.architecture import Architecture
from antifragile.config.networks import Network
from antifragile.data.datasets import load_dataset
from antifragile.engine.epoch import exact_numerics
from antifragile.fleet.rates import FleetRate, matrix_peak_gflops, measure_rate

SHAPES = ("4*4", "18*18", "1*16", "2*59", "1*256", "4*119")
"""The default set: narrow, square and wide shapes that take half a minute together."""


def bench(
    arch: Annotated[
        list[str] | None,
        typer.Option(help="May be repeated.", show_default=", ".join(SHAPES)),
    ] = None,
    dataset: Annotated[str, typer.Option(help="What to train on.")] = "mnist",
    threads: Annotated[
        int, typer.Option(min=1, max=1024, help="Threads; a worker of a study has one.")
    ] = 1,
    repeats: Annotated[
        int, typer.Option(min=1, max=10_000, help="Meta-loops; the best time counts.")
    ] = 2,
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="Precision of the products.")
    ] = "fp32",
    network: NetworkOption = "mlp",
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure this machine's speed against the rates that `study plan` predicts from.

    Seconds are per trial and meta-loop, validation included. A study on this machine takes about
    the ratio times the predicted time. `python -m benchmarks.speed`, in a clone of the project,
    compares the fleet with plain and tuned PyTorch loops.
    """
    architectures = [Architecture.parse(name) for name in arch or SHAPES]
    data, kind = load_dataset(dataset, data_dir=data_dir, progress=True), Network(network)
    for architecture in architectures:
        architecture.check_fits_in_memory(data.n_inputs, data.n_classes, kind)
    rates = []
    with exact_numerics(threads):
        peak = matrix_peak_gflops(precision)
        for architecture in architectures:
            rate = measure_rate(
                architecture,
                data,
                threads=threads,
                repeats=repeats,
                precision=precision,
                network=kind,
            )
            rates.append(rate)
            line = f"{rate.architecture}: {rate.seconds:.4g} s"
            stderr().print(line, soft_wrap=True)
    ratio = geometric_mean([rate.ratio for rate in rates])
    if as_json:
        rows = [asdict(rate) | {"ratio": rate.ratio} for rate in rates]
        print_json(
            {"threads": threads, "precision": precision, "network": network, "peak_gflops": peak}
            | {"ratio": ratio, "rows": rows}
        )
        return
    _print(rates)
    stdout().print(
        f"\nmatrix peak {peak:.0f} GFLOP/s with {threads} thread(s); this machine takes "
        f"{ratio:.2f} times the predicted time (geometric mean)."
    )


def _print(rates: list[FleetRate]) -> None:
    table = plain_table(
        *("architecture", "kernel", ">measured", ">predicted", ">ratio", ">GFLOP/s"),
        title="seconds per trial and meta-loop, validation included",
    )
    for rate in rates:
        table.add_row(
            rate.architecture,
            rate.kernel,
            f"{rate.seconds:.4g}",
            f"{rate.predicted_seconds:.4g}",
            f"{rate.ratio:.2f}",
            f"{rate.gflops:.0f}",
        )
    stdout().print(table)
