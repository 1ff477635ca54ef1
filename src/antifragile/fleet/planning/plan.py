"""The plan of a fleet: its kernel and shapes, chosen before anything runs, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass, replace

from antifragile.errors import UsageError
from antifragile.fleet.native.library import BF16_FROM_INPUTS, NativeLibrary, load_native
from antifragile.fleet.planning.cost import (
    VALUE_BYTES,
    MemoryNeeds,
    memory_needed,
    seconds_of_meta_loop,
)
from antifragile.fleet.planning.workloads import Workload
from antifragile.fleet.torch.updates import why_not_batched

GIB = 2**30
PRECISIONS = ("fp32", "fp64", "bf16")

_SHARED_BATCH_PARAMETERS = 300_000  # above this a group of six modes leaves the cache
_TORCH_GROUPS = 8  # batched operations cost the same for one group or eight of small networks
_PERTURBED_GROUPS = (
    5  # where one mode trains by itself, ten trials are two full blocks and no padding
)
_CACHE_BYTES = 32 * 2**20  # batched torch products beyond this run slower than one after another


@dataclass(frozen=True, kw_only=True)
class FleetPlan:
    """Kernel, shapes, time and memory of a workload, decided before anything runs.

    Args:
        kernel: ``native`` or ``torch``; ``plain`` is the readable engine, no fleet at all.
        fleet_size: Replicas in memory at once; more are trained in several fleets.
        group_size: Replicas that share a batch and train together.
        groups_at_once: Groups that train at a time.
        threads: Threads of this process.
        precision: ``fp32``, ``fp64`` or ``bf16``.
        device: Where it runs.
        predicted_seconds_per_meta_loop: Wall seconds of one meta-loop of one replica.
        memory_bytes: Predicted peak of data set and buffers.
        mode_order: Gives each mode its fixed place in a group.
        shares_work: Train one replica for all that are about to do the same work (`sharing`).
        reason: The choice in words.
    """

    kernel: str
    fleet_size: int
    group_size: int
    groups_at_once: int
    threads: int
    precision: str
    device: str
    predicted_seconds_per_meta_loop: float
    memory_bytes: int
    mode_order: tuple[str, ...]
    shares_work: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """The numbers of replicas and groups that fit a budget; a fleet of none where none fits."""

    group_size: int
    groups_at_once: int
    fleet_size: int
    needs: MemoryNeeds


def plan_fleet(
    work: Workload,
    *,
    threads: int = 1,
    device: str = "cpu",
    precision: str = "fp32",
    memory_budget_bytes: int = 4 * GIB,
    kernel: str | None = None,
) -> FleetPlan:
    """Choose kernel, group size and fleet size, and predict time and memory.

    Args:
        work: The replicas to be trained.
        threads: Threads of this process.
        device: ``cpu``, ``cuda`` or ``mps``.
        precision: Precision of the products; bf16 keeps float32 master weights.
        memory_budget_bytes: Budget of this process for data set and buffers.
        kernel: Insist on ``native`` or ``torch``.

    Raises:
        UsageError: The budget does not hold the data set and one replica, or the kernel asked
            for does not serve this device or precision.

    Example:
        >>> plan_fleet(Workload(architecture=Architecture.parse("4*4")), kernel="torch").group_size
        6
    """
    chosen, why = _choose_kernel(work, kernel, device, precision)
    shape = _choose_shape(work, chosen, precision, threads, memory_budget_bytes)
    if shape.fleet_size < 1 and shape.group_size > 1:
        work = _alone(work)
        shape = _choose_shape(work, chosen, precision, threads, memory_budget_bytes)
    if shape.fleet_size < 1:
        raise _too_large(work, shape, memory_budget_bytes)
    if chosen != "native" or precision == "fp64":
        work = replace(work, placebos=0)  # these train decay as well
    why += f"; {_explain_group(work, shape.group_size)}"
    if work.placebos:
        why += "; decay rounds away, so none is trained for both"
    return _plan(work, chosen, precision, shape, threads=threads, device=device, reason=why)


def plan_plain(work: Workload, *, threads: int = 1, device: str = "cpu", reason: str) -> FleetPlan:
    """Predict time and memory of the readable engine, which trains one trial after another.

    Args:
        work: The replicas to be trained.
        threads: Threads of this process.
        device: Where it runs.
        reason: Why the readable engine trains them.
    """
    alone = replace(_alone(work), replicas=1)
    needs = memory_needed(alone, "plain", "fp32", 1)
    shape = _Shape(group_size=1, groups_at_once=1, fleet_size=1, needs=needs)
    reason = f"readable engine, {reason}; one trial at a time"
    return _plan(alone, "plain", "fp32", shape, threads=threads, device=device, reason=reason)


def _plan(
    work: Workload,
    kernel: str,
    precision: str,
    shape: _Shape,
    *,
    threads: int,
    device: str,
    reason: str,
) -> FleetPlan:
    group_size, groups, fleet_size = shape.group_size, shape.groups_at_once, shape.fleet_size
    seconds = seconds_of_meta_loop(
        work, kernel, precision, threads=threads, group_size=group_size, groups=groups
    )
    return FleetPlan(
        kernel=kernel,
        fleet_size=fleet_size,
        group_size=group_size,
        groups_at_once=groups,
        threads=threads,
        precision=precision,
        device=device,
        predicted_seconds_per_meta_loop=seconds * (1 - work.placebos / work.modes),
        memory_bytes=shape.needs.total_bytes(replicas=fleet_size, groups=groups),
        mode_order=work.mode_order,
        shares_work=kernel == "native",  # its bits are the same whatever else is in the batch
        reason=reason,
    )


def _choose_kernel(
    work: Workload, kernel: str | None, device: str, precision: str
) -> tuple[str, str]:
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is unknown; expected {', '.join(PRECISIONS)}.")
    if unknown := why_not_batched(work.perturbations, work.block_norm):
        raise UsageError(f"a fleet cannot train this: {unknown}. Use the readable engine.")
    obstacle = None
    if device != "cpu":
        obstacle = f"the compiled kernel runs on the CPU, not on {device}"
    elif work.perturbations:
        names = " and ".join(item.words for item in work.perturbations)
        obstacle = f"the compiled kernel has no {names}"
    elif (library := load_native(bf16=precision == "bf16")) is None:
        obstacle = "the compiled kernel was not built or cannot be loaded here"
    if kernel == "native" and obstacle:
        raise UsageError(f"kernel 'native' cannot serve: {obstacle}. Use 'torch'.")
    if kernel == "torch":
        return "torch", "batched torch, as asked"
    if obstacle:
        return "torch", f"batched torch, because {obstacle}"
    assert library is not None
    products = _explain_products(work, library, precision)
    return "native", f"compiled kernel ({library.version}){products}"


def _explain_products(work: Workload, library: NativeLibrary, precision: str) -> str:
    if precision != "bf16":
        return ""
    if library.has_bf16:
        share = f"{100 * work.rounded_share:.0f} % of the operations"
        return f", bf16 products in the first layer and from {BF16_FROM_INPUTS} inputs on ({share})"
    return (
        ", bf16 products computed in fp32 from rounded operands, because no instruction for them "
        "was built or is there, and therefore no faster than --precision fp32"
    )


def _choose_shape(
    work: Workload, kernel: str, precision: str, threads: int, budget_bytes: int
) -> _Shape:
    group_size = _group_size(work, kernel, threads)
    needs = memory_needed(work, kernel, precision, group_size)
    groups = threads
    if kernel == "torch":
        one_group = needs.total_bytes(replicas=group_size, groups=0)
        affordable = (budget_bytes - one_group) // needs.group_bytes
        groups = max(1, min(_torch_groups(work, precision, group_size), affordable))
    room = budget_bytes - needs.total_bytes(replicas=0, groups=groups)
    fleet_size = min(work.replicas, room // needs.replica_bytes) // group_size * group_size
    if kernel == "native" and fleet_size > 0:
        groups = min(groups, -(-fleet_size // group_size))
    return _Shape(group_size=group_size, groups_at_once=groups, fleet_size=fleet_size, needs=needs)


def _too_large(work: Workload, shape: _Shape, budget_bytes: int) -> UsageError:
    needed = shape.needs.total_bytes(replicas=1, groups=shape.groups_at_once)
    return UsageError(
        f"the memory budget of {budget_bytes / GIB:.2f} GiB does not hold the data set "
        f"and one replica of {work.architecture.name} ({needed / GIB:.2f} GiB); raise it, or "
        "use fewer threads."
    )


def _group_size(work: Workload, kernel: str, threads: int) -> int:
    """Replicas that share a batch: all modes of a trial, unless they would leave the cache."""
    if work.layout.n_parameters > _SHARED_BATCH_PARAMETERS:
        return 1
    if kernel == "native":
        # Halves and thirds of a trial keep every thread busy when trials are few.
        trials = max(1, work.replicas // work.modes)
        for parts in (1, 2, 3, 6):
            if work.modes % parts == 0 and trials * parts >= threads:
                return work.modes // parts
    return work.modes


def _torch_groups(work: Workload, precision: str, group_size: int) -> int:
    """Groups that train at once: as many as keep activations near the cache.

    Not as many as there are trials: the bits of batched products may depend on how many there
    are, and a study that grows by trials should not change those it has.
    """
    if work.replicas == 1:
        return 1
    units = sum(work.layout.sizes[1:])
    live = work.batch_size * units * group_size * VALUE_BYTES[precision]
    most = _PERTURBED_GROUPS if work.perturbations else _TORCH_GROUPS
    return int(max(1, min(most, _CACHE_BYTES // max(1, live))))


def _explain_group(work: Workload, group_size: int) -> str:
    if work.modes == 1:
        return "each replica draws its own batches"
    if group_size == 1:
        return (
            f"one replica at a time, because {work.modes} networks of "
            f"{work.layout.n_parameters:,} parameters would not stay in the cache"
        )
    return f"{group_size} modes of a trial share each batch and one first-layer product"


def _alone(work: Workload) -> Workload:
    return replace(work, modes=1, placebos=0)
