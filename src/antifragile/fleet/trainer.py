"""The fleet's meta-loop: PSA for many replicas of one architecture at once.

    candidates = clones of all LKGs; in PSA modes one neuron of each is zeroed
    a kernel trains all candidates for one epoch and counts them on validation
    where a candidate beats its bounty, its row replaces the LKG's

That is the paper's rule; each replica follows that of its own mode (`clones`, `engine.policies`).
Batch orders, ablation targets and initial weights come from the engine's own functions, so a
replica's records are the engine's. With the compiled kernel a replica's results are the same bits
whatever else is in the fleet; the torch kernel pads to the fixed shapes of the plan for that.

Shape letters: R replicas, P parameters, N samples.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import torch

from antifragile.config.modes import get_mode
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.engine.trial import TrialState, initial_weights
from antifragile.errors import UsageError
from antifragile.fleet.clones import ClonePlan, change_clone, choose_clone, judge_of, prepare_memory
from antifragile.fleet.kernels import EpochOutcome, Kernel
from antifragile.fleet.layout import FlatLayout
from antifragile.fleet.native.kernel import NativeKernel
from antifragile.fleet.native.library import load_native
from antifragile.fleet.planning.grouping import active_replicas, epoch_job
from antifragile.fleet.planning.modes import why_not_in_fleet
from antifragile.fleet.planning.plan import FleetPlan, plan_fleet
from antifragile.fleet.planning.sharing import leading_replicas
from antifragile.fleet.planning.workloads import workload
from antifragile.fleet.state import FleetState
from antifragile.fleet.torch.kernel import TorchKernel

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
        plan: Kernel, groups and threads; by default `plan_fleet` chooses for ``threads`` threads.
        threads: Ignored when there is a plan.
        harm: Count every ablated clone on the validation split before its epoch, too.

    Yields:
        One record per trial, in the order of ``specs`` (None for a trial that had already
        finished; seconds are wall time divided by the trials that ran), and the state, which
        the next meta-loop changes: keep `FleetState.trial_state` copies.

    Raises:
        UsageError: The trials differ in architecture, data set, training options or update
            equation, or no kernel knows their update equation or mode.
    """
    _check_alike(specs)
    _check_modes(specs)
    work = workload(specs, data)
    plan = plan or plan_fleet(work, threads=threads)
    data = _in_precision(data, plan)
    kernel = make_kernel(plan, work.layout, data)
    state = _starting_state(specs, data, work.layout, start)
    while True:
        prepare_memory(specs, state)
        if not (active := active_replicas(specs, state)):
            return
        yield _turn(specs, data, kernel, plan, state, active, harm=harm), state


def fleet_finish(
    specs: Sequence[TrialSpec], data: Dataset, states: Sequence[TrialState], *, plan: FleetPlan
) -> list[TrialResult]:
    """Test every best state once, at the end; the test split is never used for selection."""
    data = _in_precision(data, plan)
    fleet = _starting_state(specs, data, workload(specs, data).layout, states)
    counts = make_kernel(plan, fleet.layout, data).count_correct(fleet.best(), data.test)
    return [
        TrialResult(
            meta_loops=state.meta_loop,
            peak_correct=state.best.bounty,
            peak_meta_loop=state.best.meta_loop,
            final_correct=state.final_correct,
            test_correct=count,
        )
        for state, count in zip(states, counts, strict=True)
    ]


def make_kernel(plan: FleetPlan, layout: FlatLayout, data: Dataset) -> Kernel:
    """Make the kernel that a plan names."""
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
    for name in ("architecture", "dataset", "options", "perturbations"):
        values = {getattr(spec, name) for spec in specs}
        if len(values) > 1:
            shown = ", ".join(sorted(_shown(value) for value in values)[:3])
            raise UsageError(f"the trials of a fleet must share their {name}; got {shown}.")


def _check_modes(specs: Sequence[TrialSpec]) -> None:
    for spec in {spec.mode: spec for spec in specs}.values():
        norm = spec.training.block_norm
        if reason := why_not_in_fleet(get_mode(spec.mode), spec.perturbations, norm):
            raise UsageError(f"a fleet cannot train this: {reason}. Use the readable engine.")


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
) -> FleetState:
    """Load the states given, or draw fresh networks, once for all trials that share them."""
    images = data.train.images
    state = FleetState.empty(layout, len(specs), images.dtype, str(images.device))
    drawn: dict[tuple[str | int, ...], int] = {}
    for replica, spec in enumerate(specs):
        begin = start[replica] if start else None
        name = (spec.seed, *spec.streams().init.path)
        if begin is not None:
            state.put(replica, begin)
        elif name in drawn:
            state.lkg[replica].copy_(state.lkg[drawn[name]])
        else:
            layout.flatten(initial_weights(spec, data, dtype=images.dtype), state.lkg[replica])
            drawn[name] = replica
    return state


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
    """Run one meta-loop of every active replica: clone, damage, train, count, promote."""
    started = time.perf_counter()
    clones = {replica: choose_clone(specs[replica], data, state, replica) for replica in active}
    own = {replica: replica for replica in active}
    starts = {replica: clone.start for replica, clone in clones.items()}
    leaders = leading_replicas(specs, state, starts) if plan.shares_work else own
    trained = [replica for replica in active if leaders[replica] == replica]
    candidates = state.lkg[trained]  # copies, (trained, P)
    for candidate, replica in zip(candidates, trained, strict=True):
        change_clone(
            specs[replica],
            data,
            state.layout,
            candidate,
            clones[replica],
            state.moments.get(replica),
        )
    counts: dict[int, int] = {}
    ablated = [row for row, replica in enumerate(trained) if clones[replica].hits.targets]
    if harm and ablated:
        correct = kernel.count_correct(candidates[ablated], data.validation)
        counts = dict(zip(ablated, correct, strict=True))
    outcome = kernel.run_epoch(epoch_job(specs, data, plan, state, trained, candidates))
    rows = {replica: row for row, replica in enumerate(trained)}
    row_of = {replica: rows[leader] for replica, leader in leaders.items()}
    judges = {replica: judge_of(specs[replica], data, state, replica) for replica in active}
    state.settle(row_of, candidates, outcome.correct, judges)
    seconds = (time.perf_counter() - started) / len(active)
    return _records(state, row_of, outcome, clones, seconds, counts)


def _records(
    state: FleetState,
    row_of: Mapping[int, int],
    outcome: EpochOutcome,
    clones: Mapping[int, ClonePlan],
    seconds: float,
    ablated: Mapping[int, int],
) -> list[MetaLoopRecord | None]:
    records: list[MetaLoopRecord | None] = [None] * state.n_replicas
    for replica, row in row_of.items():
        targets, progress = clones[replica].hits.targets, state.standing(replica)
        first = targets[0] if targets else None
        records[replica] = MetaLoopRecord(
            meta_loop=state.meta_loop[replica],
            validation_correct=outcome.correct[row],
            bounty=progress.best.score,
            promoted=progress.lkg.meta_loop == progress.meta_loop,
            ablated_layer=first.layer if first else None,
            ablated_neuron=first.neuron if first else None,
            train_loss=outcome.train_loss[row],
            seconds=seconds,
            ablated_correct=ablated.get(row),
        )
    return records
