"""The fleet's meta-loop: PSA's ratchet for many replicas of one architecture at once.

    candidates = clones of all LKGs; in PSA modes one neuron of each is zeroed
    a kernel trains all candidates for one epoch and counts them on validation
    where a candidate beats its bounty, its row replaces the LKG's

Batch orders, ablation targets and initial weights come from the engine's own functions, so a
replica's records are the engine's. With the compiled kernel a replica's bits do not depend on its
company at all; the torch kernel pads to the fixed shapes of the plan.

Shape letters: R replicas, P parameters, N samples.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import torch

from antifragile.config import TrialSpec, get_mode
from antifragile.data import Dataset
from antifragile.engine import (
    MetaLoopRecord,
    TrialResult,
    TrialState,
    epoch_order,
    initial_weights,
)
from antifragile.errors import UsageError
from antifragile.fleet.kernels import EpochJob, EpochOutcome, Group, Kernel
from antifragile.fleet.layout import FlatLayout
from antifragile.fleet.native_kernel import NativeKernel
from antifragile.fleet.native_library import load_native
from antifragile.fleet.plan import FleetPlan, Workload, plan_fleet
from antifragile.fleet.state import FleetState, empty_fleet
from antifragile.fleet.torch_kernel import TorchKernel
from antifragile.model import AblationTarget, choose_target

_DTYPES = {"fp32": torch.float32, "bf16": torch.float32, "fp64": torch.float64}


def fleet_meta_loops(
    specs: Sequence[TrialSpec],
    data: Dataset,
    *,
    start: Sequence[TrialState | None] | None = None,
    plan: FleetPlan | None = None,
    threads: int = 1,
    harm: bool = False,
) -> Iterator[tuple[list[MetaLoopRecord | None], FleetState]]:
    """Run the meta-loops of many trials of one architecture side by side.

    Args:
        specs: The trials; same architecture, data set and training options, any modes, trials
            and meta-loops. ``spec.meta_loops`` is the last meta-loop of each.
        data: Their data set, on the device to train on.
        start: For each trial, a state to continue from, or None for a fresh network.
        plan: How to run; by default `plan_fleet` chooses for ``threads`` threads.
        threads: Ignored when there is a plan.
        harm: Count every ablated clone on the validation split before its epoch, too.

    Yields:
        One record per trial, in the order of ``specs`` (None for a trial that had already
        finished; seconds are wall time divided by the trials that ran), and the state, which
        changes with the next turn: take `FleetState.trial_state` copies to keep.

    Raises:
        UsageError: The trials differ in architecture, data set, training options or update
            equation, or no kernel knows their update equation.
    """
    _check_alike(specs)
    layout = FlatLayout(
        architecture=specs[0].architecture, n_inputs=data.n_inputs, n_classes=data.n_classes
    )
    plan = plan or plan_fleet(workload(specs, data), threads=threads)
    data = _in_precision(data, plan)
    kernel = make_kernel(plan, layout, data)
    state = _starting_state(specs, data, layout, start, plan)
    while active := _active(specs, state):
        yield _turn(specs, data, kernel, plan, state, active, harm=harm), state


def fleet_finish(
    specs: Sequence[TrialSpec], data: Dataset, state: FleetState, *, plan: FleetPlan
) -> list[TrialResult]:
    """Test every LKG once, at the end; the test split is never used for selection."""
    data = _in_precision(data, plan)
    counts = make_kernel(plan, state.layout, data).count_correct(state.lkg, data.test)
    assert len(specs) == len(counts)
    return [
        TrialResult(
            meta_loops=state.meta_loop[replica],
            peak_correct=state.bounty[replica],
            peak_meta_loop=state.lkg_meta_loop[replica],
            final_correct=state.final_correct[replica],
            test_correct=count,
        )
        for replica, count in enumerate(counts)
    ]


def fleet_of(specs: Sequence[TrialSpec], data: Dataset, states: Sequence[TrialState]) -> FleetState:
    """The fleet that stands where each of these trials stands."""
    layout = FlatLayout(
        architecture=specs[0].architecture, n_inputs=data.n_inputs, n_classes=data.n_classes
    )
    weights = states[0].lkg.weights["layers.0.bias"]
    fleet = empty_fleet(layout, len(states), weights.dtype, str(weights.device))
    for replica, state in enumerate(states):
        fleet.put(replica, state)
    return fleet


def workload(specs: Sequence[TrialSpec], data: Dataset) -> Workload:
    """What a planner needs to know about these trials."""
    orders = {spec.streams().order.path for spec in specs}
    return Workload(
        architecture=specs[0].architecture,
        n_inputs=data.n_inputs,
        n_classes=data.n_classes,
        n_train=data.train.n_samples,
        n_validation=data.validation.n_samples,
        replicas=len(specs),
        modes=max(1, -(-len(specs) // len(orders))),
        batch_size=specs[0].training.batch_size,
        mode_order=tuple(dict.fromkeys(spec.mode for spec in specs)),
        perturbations=specs[0].perturbations,
    )


def make_kernel(plan: FleetPlan, layout: FlatLayout, data: Dataset) -> Kernel:
    """The kernel that a plan names."""
    if plan.kernel == "native":
        bf16 = plan.precision == "bf16"
        library = load_native(bf16=bf16)
        assert library is not None, "a plan names the native kernel only where it loads"
        return NativeKernel(library, layout, data, threads=plan.threads, bf16=bf16)
    return TorchKernel(
        layout,
        data,
        groups=plan.groups_at_once,
        members=plan.group_size,
        threads=plan.threads,
        compute_dtype=torch.bfloat16 if plan.precision == "bf16" else None,
    )


def _check_alike(specs: Sequence[TrialSpec]) -> None:
    if not specs:
        raise UsageError("a fleet needs at least one trial; got none.")
    for name in ("architecture", "dataset", "training", "perturbations"):
        values = {getattr(spec, name) for spec in specs}
        if len(values) > 1:
            shown = ", ".join(sorted(_shown(value) for value in values)[:3])
            raise UsageError(f"the trials of a fleet must share their {name}; got {shown}.")


def _shown(value: object) -> str:
    if isinstance(value, tuple):  # of perturbations
        return " and ".join(item.words for item in value) or "none"
    return str(value)


def _in_precision(data: Dataset, plan: FleetPlan) -> Dataset:
    dtype = _DTYPES[plan.precision]
    images = data.train.images
    return data if images.dtype == dtype else data.to(str(images.device), dtype)


def _starting_state(
    specs: Sequence[TrialSpec],
    data: Dataset,
    layout: FlatLayout,
    start: Sequence[TrialState | None] | None,
    plan: FleetPlan,
) -> FleetState:
    """Fresh networks, drawn once for all trials that share them, or the states given."""
    dtype = _DTYPES[plan.precision]
    state = empty_fleet(layout, len(specs), dtype, str(data.train.images.device))
    drawn: dict[tuple[str | int, ...], int] = {}
    for replica, spec in enumerate(specs):
        begin = start[replica] if start else None
        name = (spec.seed, *spec.streams().init.path)
        if begin is not None:
            state.put(replica, begin)
        elif name in drawn:
            state.lkg[replica].copy_(state.lkg[drawn[name]])
        else:
            layout.flatten(initial_weights(spec, data, dtype=dtype), state.lkg[replica])
            drawn[name] = replica
    return state


def _active(specs: Sequence[TrialSpec], state: FleetState) -> list[int]:
    """Replicas with meta-loops to go, those that share batches side by side."""
    replicas = [i for i, spec in enumerate(specs) if state.meta_loop[i] < spec.meta_loops]
    return sorted(replicas, key=lambda i: _batches_of(specs[i], state.meta_loop[i]))


def _batches_of(spec: TrialSpec, meta_loop: int) -> tuple[str, int]:
    """Equal for replicas that draw the same order in their next meta-loop."""
    stream = spec.streams().order
    return f"{stream.seed} {stream.path!r}", meta_loop


def _turn(
    specs: Sequence[TrialSpec],
    data: Dataset,
    kernel: Kernel,
    plan: FleetPlan,
    state: FleetState,
    active: list[int],
    *,
    harm: bool,
) -> list[MetaLoopRecord | None]:
    """One meta-loop of every active replica: clone, ablate, train, count, promote."""
    started = time.perf_counter()
    candidates = state.lkg[active]  # a copy, (active, P)
    targets = [
        _ablate(specs[replica], state, replica, candidates[row])
        for row, replica in enumerate(active)
    ]
    ablated = _count_ablated(kernel, data, candidates, targets) if harm else {}
    outcome = kernel.run_epoch(_job(specs, data, plan, state, active, candidates))
    promoted = state.settle(active, candidates, outcome.correct)
    seconds = (time.perf_counter() - started) / len(active)
    return _records(state, active, outcome, targets, promoted, seconds, ablated)


def _ablate(
    spec: TrialSpec, state: FleetState, replica: int, candidate: torch.Tensor
) -> AblationTarget | None:
    """Zero one neuron of a clone in place; meta-loop 1 trains the fresh network un-ablated."""
    ablation, done = get_mode(spec.mode).ablation, state.meta_loop[replica]
    if ablation is None or done == 0:
        return None
    rng = spec.streams().ablation.generator(done + 1)
    target = choose_target(ablation, state.layout.sizes, rng=rng)
    state.layout.ablate(candidate, target)
    return target


def _count_ablated(
    kernel: Kernel,
    data: Dataset,
    candidates: torch.Tensor,
    targets: Sequence[AblationTarget | None],
) -> dict[int, int]:
    """Correct validation samples of every ablated clone before its epoch, by row."""
    rows = [row for row, target in enumerate(targets) if target]
    if not rows:
        return {}
    counts = kernel.count_correct(candidates[rows], data.validation)
    return dict(zip(rows, counts, strict=True))


def _job(
    specs: Sequence[TrialSpec],
    data: Dataset,
    plan: FleetPlan,
    state: FleetState,
    active: list[int],
    candidates: torch.Tensor,
) -> EpochJob:
    chosen = [specs[replica] for replica in active]
    return EpochJob(
        weights=candidates,
        groups=_groups(specs, data, plan, state, active),
        options=chosen[0].training,
        weight_decay=[spec.weight_decay for spec in chosen],
        dropout=[spec.dropout for spec in chosen],
        dropout_keys=[spec.streams().dropout.key64 for spec in chosen],
        meta_loops=[state.meta_loop[replica] + 1 for replica in active],
        perturbations=chosen[0].perturbations,
        perturbation_keys=[spec.streams().perturbation.key64 for spec in chosen],
    )


def _groups(
    specs: Sequence[TrialSpec],
    data: Dataset,
    plan: FleetPlan,
    state: FleetState,
    active: list[int],
) -> list[Group]:
    """Cut the active replicas into groups that share an order; each order is drawn once."""
    groups: list[Group] = []
    group_size = plan.group_size
    row = 0
    for _, members in groupby(active, key=lambda i: _batches_of(specs[i], state.meta_loop[i])):
        sharing = list(members)
        first, done = specs[sharing[0]], state.meta_loop[sharing[0]]
        order = epoch_order(first.streams().order, done + 1, data.train.n_samples)
        for begin in range(0, len(sharing), group_size):
            chosen = [specs[i] for i in sharing[begin : begin + group_size]]
            size = len(chosen)
            groups.append(
                Group(
                    start=row,
                    stop=row + size,
                    order=order,
                    place=_place(chosen[0], plan),
                    slots=_slots(chosen, plan),
                )
            )
            row += size
    return groups


def _place(spec: TrialSpec, plan: FleetPlan) -> int:
    """Where a group stands in its study: by trial, and by mode where a replica is a group."""
    if plan.group_size > 1:
        return spec.trial - 1
    return (spec.trial - 1) * len(plan.mode_order) + plan.mode_order.index(spec.mode)


def _slots(members: Sequence[TrialSpec], plan: FleetPlan) -> tuple[int, ...]:
    """Where each replica stands in its group: by its mode, or at the next place that is free."""
    taken: list[int] = []
    for spec in members:
        slot = plan.mode_order.index(spec.mode) % plan.group_size
        while slot in taken:
            slot = (slot + 1) % plan.group_size
        taken.append(slot)
    return tuple(taken)


def _records(
    state: FleetState,
    active: list[int],
    outcome: EpochOutcome,
    targets: Sequence[AblationTarget | None],
    promoted: Sequence[bool],
    seconds: float,
    ablated: Mapping[int, int],
) -> list[MetaLoopRecord | None]:
    records: list[MetaLoopRecord | None] = [None] * state.n_replicas
    for row, replica in enumerate(active):
        target = targets[row]
        records[replica] = MetaLoopRecord(
            meta_loop=state.meta_loop[replica],
            validation_correct=outcome.correct[row],
            bounty=state.bounty[replica],
            promoted=promoted[row],
            ablated_layer=target.layer if target else None,
            ablated_neuron=target.neuron if target else None,
            train_loss=outcome.train_loss[row],
            seconds=seconds,
            ablated_correct=ablated.get(row),
        )
    return records
