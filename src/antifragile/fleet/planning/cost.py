"""What a workload takes: bytes and seconds, predicted before anything runs.

The rates below were measured (benchmarks/README.md) and only predict times: no result depends
on them.
"""

from __future__ import annotations

from antifragile.engine.records import Damage
from antifragile.engine.robustness import DRAWS, LEVELS
from antifragile.fleet.native.library import load_native
from antifragile.fleet.planning.workloads import Workload

VALUE_BYTES = {"fp32": 4, "fp64": 8, "bf16": 4}

# Of one thread: what its products reach, and the seconds per replica and meta-loop that do not
# shrink with the network: counting, and gathering batches, which a group shares.
_NATIVE_RATE = 80.0
_NATIVE_BF16_RATE = 130.0  # in the layers that round, with the processor's instruction for it
_NATIVE_FIXED_S = 0.0005
_NATIVE_BATCHES_S = 0.02
_TORCH_RATE = 12.0
_TORCH_CALL_S = 15e-6  # one batched operation, however small; about 12 per layer and step

# What a study evaluates besides: forward passes over a whole split, and noise from numpy.
_COUNT_RATE = 75.0
_NATIVE_COUNT_S = 0.0002
_TORCH_COUNT_CALLS = 6  # per layer
_NOISE_S = 2.2e-8  # one normal number, and its share of finding the images' spread


def memory_needed(
    work: Workload, kernel: str, precision: str, group_size: int
) -> tuple[int, int, int]:
    """Bytes of the data set, of one replica between epochs, and of one group while it trains."""
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
    working = int(copies * size * parameters * group_size + panels)
    drawn = 2 * size * parameters  # one fresh network, and its copy for a checkpoint
    return int(samples * work.n_inputs * size) + drawn, 2 * size * parameters, working


def seconds_per_meta_loop(
    work: Workload,
    kernel: str,
    precision: str,
    threads: int,
    group_size: int,
    groups_at_once: int,
) -> float:
    """Of one replica, trained as the plan says."""
    flops = work.flops_per_meta_loop
    if kernel == "native":
        library = load_native(bf16=True) if precision == "bf16" else None
        if library is not None and library.has_bf16:
            flops *= 1 - work.rounded_share * (1 - _NATIVE_RATE / _NATIVE_BF16_RATE)
        pixels = work.n_train * work.n_inputs / (50_000 * 784)
        fixed = _NATIVE_FIXED_S + pixels * _NATIVE_BATCHES_S / group_size
        return (flops / (_NATIVE_RATE * 1e9) + fixed) / threads
    steps = -(-work.n_train // work.batch_size)
    together = min(work.replicas, group_size * groups_at_once)
    calls = 12 * steps * (work.architecture.depth + 2) * _TORCH_CALL_S / together
    return flops / (_TORCH_RATE * threads * 1e9) + calls


def seconds_per_count(work: Workload, kernel: str, n_samples: int) -> float:
    """Of one replica, counted once more over so many samples, on one thread."""
    flops = 2.0 * work.layout.n_parameters * n_samples
    calls = _TORCH_COUNT_CALLS * (work.architecture.depth + 2) * _TORCH_CALL_S
    return flops / (_COUNT_RATE * 1e9) + (_NATIVE_COUNT_S if kernel == "native" else calls)


def seconds_of_robustness(work: Workload, n_test: int) -> float:
    """Of one trial tested by the engine under every kind, level and draw of damage."""
    draws = {damage: DRAWS * len(levels) for damage, levels in LEVELS.items()}
    noise = draws[Damage.WEIGHT_NOISE] * work.layout.n_parameters
    noise += draws[Damage.INPUT_NOISE] * n_test * work.n_inputs
    return sum(draws.values()) * seconds_per_count(work, "plain", n_test) + noise * _NOISE_S
