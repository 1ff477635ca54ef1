"""Measure this machine: the matrix peak, and the fleet's seconds beside those predicted.

`planning.cost` predicts times from rates that were measured on one machine; the ratio of measured
to predicted seconds says how much longer or shorter a study takes on this one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from antifragile.config.architecture import Architecture
from antifragile.config.modes import PAPER_MODES
from antifragile.config.networks import Network
from antifragile.config.seeds import Pairing
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.fleet.planning.plan import FleetPlan, plan_fleet
from antifragile.fleet.planning.workloads import workload
from antifragile.fleet.trainer import fleet_meta_loops

Clock = Callable[[], float]
"""Seconds since some moment: `time.perf_counter`, or `time.process_time` on a busy machine."""


@dataclass(frozen=True, kw_only=True)
class FleetRate:
    """Measured and predicted speed of the fleet on one architecture.

    Args:
        architecture: Its name.
        kernel: The kernel that trained it, ``native`` or ``torch``.
        seconds: Measured seconds per replica and meta-loop, validation included.
        predicted_seconds: Seconds that `study plan` predicts for the same.
        gflops: Operations that the network needs in the measured seconds, 1e9 per second.
    """

    architecture: str
    kernel: str
    seconds: float
    predicted_seconds: float
    gflops: float

    @property
    def ratio(self) -> float:
        """Measured over predicted seconds: above 1 this machine is slower than predicted."""
        return self.seconds / self.predicted_seconds


def matrix_peak_gflops(
    precision: str = "fp32",
    *,
    size: int = 2048,
    repeats: int = 5,
    clock: Clock = time.perf_counter,
) -> float:
    """Time the best matrix product that PyTorch does here in ``fp32`` or ``bf16``, in GFLOP/s."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)
    out, best = torch.empty(size, size, dtype=dtype), float("inf")
    for _ in range(repeats):
        started = clock()
        torch.mm(left, right, out=out)
        best = min(best, clock() - started)
    return 2e-9 * size**3 / best


def measure_rate(
    architecture: Architecture,
    data: Dataset,
    *,
    threads: int = 1,
    repeats: int = 2,
    precision: str = "fp32",
    network: Network = Network.MLP,
) -> FleetRate:
    """Train a few replicas of an architecture as a study would, and time them.

    Args:
        architecture: The shape to train.
        data: The data set, on the CPU.
        threads: Threads of the fleet.
        repeats: Meta-loops that are timed; the best counts.
        precision: Precision of the fleet's products, ``fp32`` or ``bf16``.
        network: The kind of network that the architecture names.
    """
    specs = paper_trials(architecture, data, trials=threads, network=network)
    work = workload(specs, data)
    plan = plan_fleet(work, threads=threads, precision=precision)
    times = seconds_per_meta_loop(specs, data, plan)
    best = min(next(times) for _ in range(repeats))
    return FleetRate(
        architecture=architecture.name,
        kernel=plan.kernel,
        seconds=best,
        predicted_seconds=plan.predicted_seconds_per_meta_loop,
        gflops=work.flops_per_meta_loop / best / 1e9,
    )


def paper_trials(
    architecture: Architecture,
    data: Dataset,
    *,
    trials: int,
    pairing: Pairing = Pairing.PAIRED,
    network: Network = Network.MLP,
) -> list[TrialSpec]:
    """List trials of one architecture in the paper's six modes, the modes of a trial together."""
    options = TrainingOptions(normalization=data.normalization, network=network)
    return [
        TrialSpec(
            dataset=data.name,
            architecture=architecture,
            mode=mode,
            trial=trial,
            pairing=pairing,
            meta_loops=1000,
            training=options,
        )
        for trial in range(1, trials + 1)
        for mode in PAPER_MODES
    ]


def seconds_per_meta_loop(
    specs: Sequence[TrialSpec],
    data: Dataset,
    plan: FleetPlan,
    *,
    clock: Clock = time.perf_counter,
) -> Iterator[float]:
    """Train trials together and yield seconds per replica, one meta-loop after another.

    The first meta-loop is not counted: it also builds the kernel and draws the networks.
    """
    started = clock()
    for turn, _ in enumerate(fleet_meta_loops(specs, data, plan=plan)):
        seconds = (clock() - started) / len(specs)
        if turn > 0:
            yield seconds
        started = clock()
