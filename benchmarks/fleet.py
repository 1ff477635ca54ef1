"""Print the fleet's benchmark table: python benchmarks/fleet.py [ARCH ...] (needs MNIST)."""

from __future__ import annotations

import sys

from antifragile.config import Architecture
from antifragile.data import load_dataset
from antifragile.fleet.bench import BENCH_ARCHITECTURES, BenchReport, BenchRow, bench

COLUMNS = "| architecture | plain s | tuned s | fleet s | independent s | plain / fleet | GFLOP/s |"


def cells(row: BenchRow) -> str:
    """One line of the Markdown table."""
    return (
        f"| {row.architecture} | {row.plain_s:.3f} | {row.tuned_s:.3f} | {row.fleet_s:.4f} "
        f"| {row.fleet_independent_s:.4f} | {row.ratio:.1f} | {row.gflops:.0f} |"
    )


def summary(report: BenchReport) -> str:
    """What the rows say together."""
    hours = ", ".join(f"{name} {value:.1f} h" for name, value in report.projected_hours.items())
    return (
        f"\nmatrix peak {report.peak_gflops:.0f} GFLOP/s; geometric mean of plain / fleet "
        f"{report.geometric_mean_ratio:.1f}; the paper's study: {hours}"
    )


def main() -> None:
    """Time the architectures named, or the default set, with two threads."""
    names = sys.argv[1:] or BENCH_ARCHITECTURES
    print(f"{COLUMNS}\n{'|---' * 7}|", flush=True)
    for item in bench([Architecture.parse(name) for name in names], load_dataset("mnist")):
        print(cells(item) if isinstance(item, BenchRow) else summary(item), flush=True)


if __name__ == "__main__":
    main()
