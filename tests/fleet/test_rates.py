"""The speed of this machine: the matrix peak, and measured beside predicted seconds."""

from __future__ import annotations

import time

import pytest
import torch

from antifragile.config.architecture import Architecture
from antifragile.fleet.planning.plan import plan_fleet
from antifragile.fleet.planning.workloads import workload
from antifragile.fleet.rates import (
    matrix_peak_gflops,
    measure_rate,
    paper_trials,
    seconds_per_meta_loop,
)
from tests.fleet.fleet_fakes import random_data


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_matrix_peak_is_a_speed(precision: str) -> None:
    assert matrix_peak_gflops(precision, size=128, repeats=2) > 0


def test_a_rate_stands_beside_the_prediction_of_the_same_plan() -> None:
    data, architecture = random_data(dtype=torch.float32), Architecture.parse("2*3")
    rate = measure_rate(architecture, data)
    plan = plan_fleet(workload(paper_trials(architecture, data, trials=1), data))
    assert rate.architecture == "2*3"
    assert rate.kernel == plan.kernel
    assert rate.predicted_seconds == plan.predicted_seconds_per_meta_loop
    assert rate.ratio == rate.seconds / rate.predicted_seconds > 0
    assert rate.gflops > 0


def test_seconds_are_those_of_the_clock_over_the_replicas() -> None:
    data, architecture = random_data(dtype=torch.float32), Architecture.parse("1*4")
    specs = paper_trials(architecture, data, trials=2)
    assert len(specs) == 12
    ticks = iter(range(1000))
    plan = plan_fleet(workload(specs, data))
    times = seconds_per_meta_loop(specs, data, plan, clock=lambda: 12.0 * next(ticks))
    assert [next(times), next(times)] == [1.0, 1.0]
    assert next(seconds_per_meta_loop(specs, data, plan, clock=time.process_time)) >= 0
