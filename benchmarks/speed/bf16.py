"""Time the compiled kernel in fp32 and in bf16, in turn within one run, and project the paper.

    python -m benchmarks.speed.bf16 [--threads 2] [--rounds 3] [ARCHITECTURE ...]

Seconds are processor seconds divided by the threads, per replica and meta-loop, the best of the
rounds: on a busy machine they are steadier than the wall clock, which a quiet machine would show.
The matrix peaks are PyTorch's, measured the same way between the rows. `python -m
benchmarks.speed --precision bf16` times the plain and the tuned loop too, by the wall clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from antifragile.config.architecture import Architecture
from antifragile.config.modes import PAPER_MODES
from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Dataset
from antifragile.fleet.planning.plan import plan_fleet
from antifragile.fleet.planning.workloads import Workload, workload
from antifragile.fleet.rates import matrix_peak_gflops, paper_trials, seconds_per_meta_loop
from benchmarks.speed.bench import BENCH_ARCHITECTURES, TRAINED_SHARE, hours_when_all_trained

PRECISIONS = ("fp32", "bf16")


def main() -> None:
    """Print a Markdown table, then the peaks and the projections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architectures", nargs="*", default=BENCH_ARCHITECTURES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = load_dataset("mnist", data_dir=options.data_dir)
    peak = dict.fromkeys(PRECISIONS, 0.0)
    measured: dict[str, dict[str, float]] = {precision: {} for precision in PRECISIONS}
    print("| architecture | fp32 s | bf16 s | fp32 / bf16 | bf16 GFLOP/s |", flush=True)
    print("|---|---|---|---|---|")
    for name in options.architectures:
        architecture = Architecture.parse(name)
        best = in_turn(architecture, data, options.threads, options.rounds)
        for precision in PRECISIONS:
            peak[precision] = max(peak[precision], matrix_peak(precision, options.threads))
            measured[precision][name] = best[precision]
        gflops = Workload(architecture=architecture).flops_per_meta_loop / best["bf16"] / 1e9
        print(
            f"| {name} | {best['fp32']:.4g} | {best['bf16']:.4g} "
            f"| {best['fp32'] / best['bf16']:.2f} | {gflops:.0f} |".replace("*", "\\*"),
            flush=True,
        )
    for precision in PRECISIONS:
        hours = hours_when_all_trained(measured[precision]) * TRAINED_SHARE
        print(f"\n{precision}: matrix peak {peak[precision]:.0f} GFLOP/s, the paper {hours:.1f} h")


def in_turn(
    architecture: Architecture, data: Dataset, threads: int, rounds: int
) -> dict[str, float]:
    """Take the best seconds per replica and meta-loop of each precision."""
    fleets = {p: seconds(architecture, data, threads, p) for p in PRECISIONS}
    best = dict.fromkeys(PRECISIONS, float("inf"))
    for _ in range(rounds):
        for precision, turns in fleets.items():
            best[precision] = min(best[precision], next(turns))
    return best


def seconds(
    architecture: Architecture, data: Dataset, threads: int, precision: str
) -> Iterator[float]:
    """Time meta-loops of the least work that keeps all threads busy, in processor seconds."""
    specs = paper_trials(architecture, data, trials=threads)
    plan = plan_fleet(workload(specs, data), threads=threads, precision=precision)
    specs = specs[:: len(PAPER_MODES)] if plan.group_size == 1 else specs
    spent = seconds_per_meta_loop(specs, data, plan, clock=time.process_time)
    return (value / threads for value in spent)


def matrix_peak(precision: str, threads: int) -> float:
    """Time PyTorch's best matrix product by the processor seconds of all threads, in GFLOP/s."""
    return threads * matrix_peak_gflops(precision, repeats=3, clock=time.process_time)


if __name__ == "__main__":
    main()
