"""Stage 6: the same rule for many replicas at once, near the hardware limit."""

from antifragile.fleet.cost import seconds_of_robustness, seconds_per_count
from antifragile.fleet.kernels import EpochJob, EpochOutcome, Group, Kernel
from antifragile.fleet.layout import FlatLayout
from antifragile.fleet.native_library import load_native
from antifragile.fleet.plan import PRECISIONS, FleetPlan, plan_fleet, plan_plain
from antifragile.fleet.state import FleetState
from antifragile.fleet.trainer import (
    fleet_finish,
    fleet_meta_loops,
    fleet_of,
    make_kernel,
)
from antifragile.fleet.updates import why_not_batched
from antifragile.fleet.workloads import Workload, workload

__all__ = [
    "PRECISIONS",
    "EpochJob",
    "EpochOutcome",
    "FlatLayout",
    "FleetPlan",
    "FleetState",
    "Group",
    "Kernel",
    "Workload",
    "fleet_finish",
    "fleet_meta_loops",
    "fleet_of",
    "load_native",
    "make_kernel",
    "plan_fleet",
    "plan_plain",
    "seconds_of_robustness",
    "seconds_per_count",
    "why_not_batched",
    "workload",
]
