"""Time the compiled kernel in fp32 and in bf16, in turn within one run, and project the paper.

    python benchmarks/bf16_speed.py [--threads 2] [--rounds 3] [ARCHITECTURE ...]

Seconds are processor seconds divided by the threads, per replica and meta-loop, the best of the
rounds: on a busy machine they are steadier than the wall clock, which a quiet machine would show.
The matrix peaks are PyTorch's, measured the same way between the rows. `antifragile bench
--precision bf16` times the plain and the tuned loop too, by the wall clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from antifragile.config.architecture import Architecture
from antifragile.config.modes import PAPER_MODES
from antifragile.config.run import TrainingOptions, TrialSpec
from antifragile.config.seeds import Pairing
from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Dataset
from antifragile.fleet.planning.plan import plan_fleet
from antifragile.fleet.planning.workloads import Workload, workload
from antifragile.fleet.trainer import fleet_meta_loops
from benchmarks.speed.bench import BENCH_ARCHITECTURES, BenchRow, projected_hours

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
    rows: dict[str, list[BenchRow]] = {precision: [] for precision in PRECISIONS}
    print("| architecture | fp32 s | bf16 s | fp32 / bf16 | bf16 GFLOP/s |", flush=True)
    print("|---|---|---|---|---|")
    for name in options.architectures:
        architecture = Architecture.parse(name)
        best = in_turn(architecture, data, options.threads, options.rounds)
        for precision in PRECISIONS:
            peak[precision] = max(peak[precision], matrix_peak(precision, options.threads))
            rows[precision].append(row(name, best[precision]))
        gflops = Workload(architecture=architecture).flops_per_meta_loop / best["bf16"] / 1e9
        print(
            f"| {name} | {best['fp32']:.4g} | {best['bf16']:.4g} "
            f"| {best['fp32'] / best['bf16']:.2f} | {gflops:.0f} |".replace("*", "\\*"),
            flush=True,
        )
    for precision in PRECISIONS:
        hours = projected_hours(rows[precision])["paired"]
        print(f"\n{precision}: matrix peak {peak[precision]:.0f} GFLOP/s, the paper {hours:.1f} h")


def in_turn(
    architecture: Architecture, data: Dataset, threads: int, rounds: int
) -> dict[str, float]:
    """The best seconds per replica and meta-loop of each precision."""
    fleets = {p: seconds(architecture, data, threads, p) for p in PRECISIONS}
    best = dict.fromkeys(PRECISIONS, float("inf"))
    for _ in range(rounds):
        for precision, turns in fleets.items():
            best[precision] = min(best[precision], next(turns))
    return best


def seconds(
    architecture: Architecture, data: Dataset, threads: int, precision: str
) -> Iterator[float]:
    """Of one meta-loop after another, with the least work that keeps all threads busy."""
    options = TrainingOptions(normalization=data.normalization)
    specs = [
        TrialSpec(
            dataset=data.name,
            architecture=architecture,
            mode=mode,
            trial=trial,
            pairing=Pairing.PAIRED,
            meta_loops=1000,
            training=options,
        )
        for trial in range(1, threads + 1)
        for mode in PAPER_MODES
    ]
    plan = plan_fleet(workload(specs, data), threads=threads, precision=precision)
    specs = specs[:: len(PAPER_MODES)] if plan.group_size == 1 else specs
    started = time.process_time()
    for turn, _ in enumerate(fleet_meta_loops(specs, data, plan=plan)):
        spent = (time.process_time() - started) / threads / len(specs)
        if turn > 0:  # the first also builds the kernel and draws the networks
            yield spent
        started = time.process_time()


def matrix_peak(precision: str, threads: int, size: int = 2048) -> float:
    """PyTorch's best matrix product in GFLOP/s."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)
    out, best = torch.empty(size, size, dtype=dtype), float("inf")
    for _ in range(3):
        started = time.process_time()
        torch.mm(left, right, out=out)
        best = min(best, (time.process_time() - started) / threads)
    return 2e-9 * size**3 / best


def row(name: str, fleet_s: float) -> BenchRow:
    """What `projected_hours` reads."""
    return BenchRow(
        architecture=name,
        plain_s=0.0,
        tuned_s=0.0,
        fleet_s=fleet_s,
        fleet_fp32_s=fleet_s,
        fleet_independent_s=fleet_s,
        ratio=0.0,
        tuned_ratio=0.0,
        gflops=0.0,
        peak_share=0.0,
    )


if __name__ == "__main__":
    main()
