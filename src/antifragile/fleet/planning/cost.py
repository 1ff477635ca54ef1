"""The cost model: bytes and seconds of a workload, predicted before anything runs.

The rates below were measured (benchmarks/README.md) and only predict times: no result depends
on them.
"""

from __future__ import annotations

from dataclasses import dataclass

from antifragile.engine.records import Damage
from antifragile.engine.robustness import DRAWS, LEVELS
from antifragile.fleet.native.library import load_native
from antifragile.fleet.planning.workloads import Workload

VALUE_BYTES = {"fp32": 4, "fp64": 8, "bf16": 4}

# Speed of the matrix products on one thread, in 1e9 operations a second, and the seconds per
# replica and meta-loop that do not shrink with the network: counting, and gathering batches, which
# a group shares.
_NATIVE_RATE = 80.0
_NATIVE_BF16_RATE = 130.0  # in the layers that round, with the processor's instruction for it
_NATIVE_FIXED_S = 0.0005
_NATIVE_BATCHES_S = 0.02
_TORCH_RATE = 12.0
_TORCH_CALL_S = 15e-6  # one batched operation, however small; about 12 per layer and step

# Measuring harm and robustness: forward passes over a whole split, and noise from numpy.
_COUNT_RATE = 75.0
_NATIVE_COUNT_S = 0.00005
_TORCH_COUNT_CALLS = 6  # per layer
_NOISE_S = 2.2e-8  # one normal number, and its share of finding the images' spread


@dataclass(frozen=True, kw_only=True)
class MemoryNeeds:
    """Predicted memory of a fleet.

    Args:
        resident_bytes: The data set, and one fresh network.
        replica_bytes: One replica between epochs.
        group_bytes: One group while it trains.
    """

    resident_bytes: int
    replica_bytes: int
    group_bytes: int

    def total_bytes(self, *, replicas: int, groups: int) -> int:
        """Memory of so many replicas, of which so many groups train at a time."""
        return self.resident_bytes + replicas * self.replica_bytes + groups * self.group_bytes


def memory_needed(work: Workload, kernel: str, precision: str, group_size: int) -> MemoryNeeds:
    """Predict the memory of a workload.

    Args:
        work: The workload.
        kernel: ``native``, ``torch`` or ``plain``.
        precision: ``fp32``, ``fp64`` or ``bf16``.
        group_size: Replicas that train together.
    """
    size, parameters = VALUE_BYTES[precision], work.layout.n_parameters
    samples: float = work.n_train + 2 * work.n_validation
    if kernel == "native" and precision == "bf16":
        samples += (work.n_train + 2 * work.n_validation) / 2  # all of it, rounded
    elif kernel == "native":
        samples += 2 * work.n_validation  # validation and test, packed
    units, batch = sum(work.layout.sizes[1:]), min(work.batch_size, work.n_train)
    copies = 3.5 if kernel == "native" else 6.5  # weights, gradients, moments and a little
    copies += kernel == "native" and precision == "bf16"  # rounded weights, once for each product
    panels = size * batch * (2.1 * work.n_inputs + units * (2 + group_size))
    drawn = 2 * size * parameters  # one fresh network, and its copy for a checkpoint
    return MemoryNeeds(
        resident_bytes=int(samples * work.n_inputs * size) + drawn,
        replica_bytes=int((2 + work.kept_rows) * size * parameters),  # LKG and candidate
        group_bytes=int(copies * size * parameters * group_size + panels),
    )


def seconds_of_meta_loop(
    work: Workload, kernel: str, precision: str, *, threads: int, group_size: int, groups: int
) -> float:
    """Predicted seconds of one meta-loop of one replica.

    Args:
        work: The workload.
        kernel: ``native``, or any that computes by torch operations.
        precision: ``fp32``, ``fp64`` or ``bf16``.
        threads: Threads of this process.
        group_size: Replicas that train together.
        groups: Groups that train at a time; their replicas share the cost of every torch call.
    """
    if kernel == "native":
        return _native_seconds(work, precision, group_size) / threads
    steps = -(-work.n_train // work.batch_size)
    calls = 12 * steps * len(work.layout.sizes) * _TORCH_CALL_S
    together = min(work.replicas, group_size * groups)
    return work.flops_per_meta_loop / (_TORCH_RATE * threads * 1e9) + calls / together


def _native_seconds(work: Workload, precision: str, group_size: int) -> float:
    flops = work.flops_per_meta_loop
    library = load_native(bf16=True) if precision == "bf16" else None
    if library is not None and library.has_bf16:
        flops *= 1 - work.rounded_share * (1 - _NATIVE_RATE / _NATIVE_BF16_RATE)
    pixels = work.n_train * work.n_inputs / (50_000 * 784)
    fixed = _NATIVE_FIXED_S + pixels * _NATIVE_BATCHES_S / group_size
    return flops / (_NATIVE_RATE * 1e9) + fixed


def seconds_per_count(work: Workload, kernel: str, n_samples: int) -> float:
    """Predicted seconds of counting one replica over so many samples, on one thread."""
    flops = 2.0 * work.layout.n_parameters * n_samples
    calls = _TORCH_COUNT_CALLS * len(work.layout.sizes) * _TORCH_CALL_S
    return flops / (_COUNT_RATE * 1e9) + (_NATIVE_COUNT_S if kernel == "native" else calls)


def seconds_of_robustness(work: Workload, n_test: int) -> float:
    """Predicted seconds of testing one trial under every kind, level and draw of damage."""
    draws = {damage: DRAWS * len(levels) for damage, levels in LEVELS.items()}
    noise = draws[Damage.WEIGHT_NOISE] * work.layout.n_parameters
    noise += draws[Damage.INPUT_NOISE] * n_test * work.n_inputs
    return sum(draws.values()) * seconds_per_count(work, "plain", n_test) + noise * _NOISE_S
