"""The benchmark times three contestants, summarises them and projects the paper's study."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
import torch

from antifragile.config.architecture import Architecture
from antifragile.config.landscape import PAPER_LANDSCAPE
from antifragile.config.seeds import Pairing
from benchmarks.speed.bench import (
    BENCH_ARCHITECTURES,
    BenchReport,
    BenchRow,
    bench,
    projected_hours,
    report,
)
from tests.fleet.fleet_fakes import random_data


def row(architecture: str, plain_s: float, fleet_s: float) -> BenchRow:
    return BenchRow(
        architecture=architecture,
        plain_s=plain_s,
        tuned_s=plain_s / 2,
        fleet_s=fleet_s,
        fleet_fp32_s=1.5 * fleet_s,
        fleet_independent_s=2 * fleet_s,
        ratio=plain_s / fleet_s,
        tuned_ratio=plain_s / 2 / fleet_s,
        gflops=50.0,
        peak_share=0.0,
    )


def test_the_default_set_is_eighteen_shapes_of_the_paper() -> None:
    shapes = {entry.architecture for entry in PAPER_LANDSCAPE}
    assert len(set(BENCH_ARCHITECTURES)) == 18
    assert {Architecture.parse(name) for name in BENCH_ARCHITECTURES} <= shapes


def test_a_report_has_the_geometric_mean_and_shares_of_one_peak() -> None:
    summary = report([row("4*4", 4.0, 0.1), row("1*64", 1.0, 0.1)], peak=200.0)
    assert summary.geometric_mean_ratio == pytest.approx(20.0)
    assert [entry.peak_share for entry in summary.rows] == [0.25, 0.25]
    assert json.loads(json.dumps(asdict(summary)))["peak_gflops"] == 200.0


def test_a_decay_that_rounds_away_is_not_projected_twice() -> None:
    hours = projected_hours([row("4*4", 1.0, 0.01)])
    assert hours["paired"] == pytest.approx(hours["paired_all_trained"] * 5 / 6)


def test_projected_hours_grow_with_the_measured_seconds() -> None:
    slow, fast = (projected_hours([row("4*4", 1.0, s)]) for s in (0.02, 0.01))
    assert slow[Pairing.PAIRED] == pytest.approx(2 * fast[Pairing.PAIRED])
    assert slow[Pairing.INDEPENDENT] == pytest.approx(2 * slow["paired_all_trained"])


def test_bench_yields_rows_then_a_report_and_restores_threads() -> None:
    before = torch.get_num_threads()
    shapes = [Architecture.parse(name) for name in ("2*3", "1*4")]
    data = random_data(dtype=torch.float32)
    *rows, summary = bench(shapes, data, threads=1, repeats=1)
    assert [entry.architecture for entry in rows if isinstance(entry, BenchRow)] == ["2*3", "1*4"]
    assert isinstance(summary, BenchReport)
    assert all(math.isfinite(entry.ratio) and entry.ratio > 0 for entry in summary.rows)
    assert torch.get_num_threads() == before


def test_bf16_is_timed_beside_fp32() -> None:
    data = random_data(dtype=torch.float32)
    turns = bench([Architecture.parse("1*4")], data, threads=1, repeats=1, precision="bf16")
    *_, summary = turns
    assert isinstance(summary, BenchReport)
    assert summary.precision == "bf16"
    assert summary.rows[0].fleet_fp32_s != summary.rows[0].fleet_s
    assert set(summary.projected_hours) == {
        "paired",
        "paired_all_trained",
        "independent",
        "paired_fp32",
    }


def test_fp32_hours_beside_bf16_come_from_the_fp32_times() -> None:
    hours = report([row("4*4", 4.0, 0.1)], peak=200.0, precision="bf16").projected_hours
    assert hours["paired_fp32"] == pytest.approx(1.5 * hours["paired"])
