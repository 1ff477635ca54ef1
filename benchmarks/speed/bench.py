"""Measure the fleet against plain and tuned PyTorch loops, and project the paper's study.

For every architecture the three are timed in turn within one run, so that a slow-down of the
machine affects all three equally. Seconds are per replica and meta-loop, validation included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean

import torch

from antifragile.config.architecture import Architecture
from antifragile.config.landscape import PAPER_LANDSCAPE
from antifragile.config.modes import PAPER_MODES
from antifragile.config.seeds import Pairing
from antifragile.config.specs.training import TrainingOptions
from antifragile.data.splits import Dataset
from antifragile.fleet.planning.plan import plan_fleet
from antifragile.fleet.planning.workloads import Workload, workload
from antifragile.fleet.rates import matrix_peak_gflops, paper_trials
from antifragile.fleet.rates import seconds_per_meta_loop as fleet_seconds
from benchmarks.speed.loops import plain_epoch, seconds_per_meta_loop, tuned_epoch

BENCH_ARCHITECTURES: tuple[str, ...] = (
    *("1*2048", "1*256", "1*64", "1*16", "1*4", "2*939", "2*59", "2*16", "4*632", "4*119"),
    *("115*115", "32*32", "18*18", "8*8", "4*4", "632*4", "115*2", "2048*1"),
)
"""The default set of 18: wide, matched, square and mirrored shapes."""

TRAINED_SHARE = 1 - TrainingOptions().decay_is_placebo / len(PAPER_MODES)
"""Share of the modes of a paired study that are trained."""

_META_LOOPS = (
    len(PAPER_MODES) * 10 * 100
)  # of each shape of the paper's study: 10 trials, 100 loops


@dataclass(frozen=True, kw_only=True)
class BenchRow:
    """One architecture; times in seconds per replica and meta-loop.

    Args:
        architecture: Its name.
        plain_s: The loop that a PyTorch user writes.
        tuned_s: The loop that an expert writes for one model.
        fleet_s: The fleet, all modes of a trial sharing their batches, in the precision asked for.
        fleet_fp32_s: The same in fp32.
        fleet_independent_s: As fleet_s, when every replica draws its own batches.
        ratio: plain_s / fleet_s.
        tuned_ratio: tuned_s / fleet_s.
        gflops: The fleet's useful floating-point operations, 1e9 per second.
        peak_share: gflops over the matrix peak measured in this run.
    """

    architecture: str
    plain_s: float
    tuned_s: float
    fleet_s: float
    fleet_fp32_s: float
    fleet_independent_s: float
    ratio: float
    tuned_ratio: float
    gflops: float
    peak_share: float


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """All rows and their summary."""

    rows: tuple[BenchRow, ...]
    precision: str
    peak_gflops: float
    geometric_mean_ratio: float
    projected_hours: dict[str, float]


def bench(
    architectures: Sequence[Architecture],
    data: Dataset,
    *,
    threads: int = 2,
    repeats: int = 2,
    precision: str = "fp32",
) -> Iterator[BenchRow | BenchReport]:
    """Time every architecture; yield each row when it is done and the report at the end.

    Args:
        architectures: The shapes to time, for example those of `BENCH_ARCHITECTURES`.
        data: The data set, on the CPU.
        threads: Threads of every contestant.
        repeats: Rounds; the best time of each contestant counts.
        precision: Precision of the fleet's products, ``fp32`` or ``bf16``, and of the matrix
            peak; the plain and the tuned loop compute in fp32.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        peak, rows = matrix_peak_gflops(precision), []
        for architecture in architectures:
            rows.append(_row(architecture, data, threads, repeats, precision, peak))
            peak = max(peak, matrix_peak_gflops(precision, repeats=2))
            yield rows[-1]
    finally:
        torch.set_num_threads(before)
    yield report(rows, peak, precision)


def report(rows: Sequence[BenchRow], peak: float, precision: str = "fp32") -> BenchReport:
    """Summarise rows; their peak shares are brought to the one peak of the run."""
    return BenchReport(
        rows=tuple(replace(row, peak_share=row.gflops / peak) for row in rows),
        precision=precision,
        peak_gflops=peak,
        geometric_mean_ratio=geometric_mean([row.ratio for row in rows]),
        projected_hours=projected_hours(rows, precision),
    )


def projected_hours(rows: Sequence[BenchRow], precision: str = "fp32") -> dict[str, float]:
    """Project the hours of the paper's study (98 shapes, 6 modes, 10 trials, 100 meta-loops).

    The rows train every mode; a paired study does not train ``decay`` again, which rounds away
    (`sharing`), and so takes five sixths of ``paired_all_trained``. Beside another precision than
    fp32 stand the hours of fp32, measured in the same run.
    """
    all_trained = hours_when_all_trained({row.architecture: row.fleet_s for row in rows})
    independent = {row.architecture: row.fleet_independent_s for row in rows}
    hours = {
        str(Pairing.PAIRED): all_trained * TRAINED_SHARE,
        str(Pairing.INDEPENDENT): hours_when_all_trained(independent),
        "paired_all_trained": all_trained,
    }
    if precision != "fp32":
        in_fp32 = hours_when_all_trained({row.architecture: row.fleet_fp32_s for row in rows})
        hours["paired_fp32"] = in_fp32 * TRAINED_SHARE
    return hours


def hours_when_all_trained(seconds: Mapping[str, float]) -> float:
    """Project the hours of the paper's study from seconds per replica and meta-loop.

    Each shape is given the speed of the measured shape that is nearest in width and depth.
    """
    measured = {Architecture.parse(name): value for name, value in seconds.items()}
    hours = 0.0
    for entry in PAPER_LANDSCAPE:
        near = min(measured, key=lambda shape: _distance(shape, entry.architecture))
        share = _flops(entry.architecture) / _flops(near)
        hours += measured[near] * share * _META_LOOPS / 3600
    return hours


def _row(
    architecture: Architecture,
    data: Dataset,
    threads: int,
    repeats: int,
    precision: str,
    peak: float,
) -> BenchRow:
    options = TrainingOptions(normalization=data.normalization)
    fleets = {str(p): _fleet(architecture, data, threads, p, precision) for p in Pairing}
    if precision != "fp32":
        fleets["fp32"] = _fleet(architecture, data, threads, Pairing.PAIRED, "fp32")
    best = dict.fromkeys(("plain", "tuned", *fleets), math.inf)
    for _ in range(repeats):
        for name, loop in (("plain", plain_epoch), ("tuned", tuned_epoch)):
            best[name] = min(best[name], seconds_per_meta_loop(loop, architecture, data, options))
        for name, seconds in fleets.items():
            best[name] = min(best[name], next(seconds))
    fleet_s = best[str(Pairing.PAIRED)]
    work = workload(paper_trials(architecture, data, trials=1), data)
    gflops = work.flops_per_meta_loop / fleet_s / 1e9
    return BenchRow(
        architecture=architecture.name,
        plain_s=best["plain"],
        tuned_s=best["tuned"],
        fleet_s=fleet_s,
        fleet_fp32_s=best.get("fp32", fleet_s),
        fleet_independent_s=best[str(Pairing.INDEPENDENT)],
        ratio=best["plain"] / fleet_s,
        tuned_ratio=best["tuned"] / fleet_s,
        gflops=gflops,
        peak_share=gflops / peak,
    )


def _fleet(
    architecture: Architecture, data: Dataset, threads: int, pairing: Pairing, precision: str
) -> Iterator[float]:
    """Time one meta-loop after another of the smallest fleet that keeps all threads busy."""
    specs = paper_trials(architecture, data, trials=threads, pairing=pairing)
    plan = plan_fleet(workload(specs, data), threads=threads, precision=precision)
    plan = replace(plan, shares_work=False)  # every replica is trained, decay too
    specs = specs[:: len(PAPER_MODES)] if plan.group_size == 1 < len(PAPER_MODES) else specs
    return fleet_seconds(specs, data, plan)


def _flops(architecture: Architecture) -> float:
    return Workload(architecture=architecture).flops_per_meta_loop


def _distance(one: Architecture, other: Architecture) -> float:
    """Distance of two shapes, in factors of width and depth."""
    width = math.log(max(one.hidden_widths) / max(other.hidden_widths))
    return math.hypot(width, math.log(one.depth / other.depth))
