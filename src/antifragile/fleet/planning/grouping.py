"""Groups of replicas that train side by side because they draw the same batches.

Each order of batches is drawn once for all replicas that share it. Groups and the replicas in
them keep their places however many there are, so that the torch kernel pads to the same shapes.

Shape letters: R replicas, P parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch

from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.epoch import epoch_order
from antifragile.fleet.kernels import EpochJob, Group
from antifragile.fleet.planning.plan import FleetPlan
from antifragile.fleet.state import FleetState


def active_replicas(specs: Sequence[TrialSpec], state: FleetState) -> list[int]:
    """Replicas with meta-loops left; those that share batches stand side by side.

    Among these, replicas whose optimizers have made as many steps do.
    """
    replicas = [i for i, spec in enumerate(specs) if state.meta_loop[i] < spec.meta_loops]
    return sorted(replicas, key=lambda i: _together(specs[i], state, i))


def _together(spec: TrialSpec, state: FleetState, replica: int) -> tuple[tuple[str, int], int]:
    return batches_of(spec, state.meta_loop[replica]), state.steps(replica)


def batches_of(spec: TrialSpec, meta_loop: int) -> tuple[str, int]:
    """A key that is equal for replicas that draw the same order in their next meta-loop."""
    stream = spec.streams().order
    return f"{stream.seed} {stream.path!r}", meta_loop


def epoch_job(
    specs: Sequence[TrialSpec],
    data: Dataset,
    plan: FleetPlan,
    state: FleetState,
    active: list[int],
    candidates: torch.Tensor,
) -> EpochJob:
    """The next epoch of the active replicas, as a kernel takes it."""
    turns = [state.meta_loop[replica] + 1 for replica in active]
    chosen = [specs[i].at(turn) for i, turn in zip(active, turns, strict=True)]
    streams = [specs[i].streams(turn) for i, turn in zip(active, turns, strict=True)]
    return EpochJob(
        weights=candidates,
        groups=_groups(specs, data, plan, state, active),
        options=chosen[0].options,
        weight_decay=[spec.weight_decay for spec in chosen],
        dropout=[spec.dropout for spec in chosen],
        block_dropout=[spec.block_dropout for spec in chosen],
        dropout_keys=[stream.dropout.key64 for stream in streams],
        meta_loops=turns,
        perturbations=chosen[0].perturbations,
        perturbation_keys=[stream.perturbation.key64 for stream in streams],
        moments=[state.moments.get(replica) for replica in active] if state.moments else (),
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
    orders: dict[object, torch.Tensor] = {}
    group_size = plan.group_size
    row = 0
    for _, members in groupby(active, key=lambda i: _together(specs[i], state, i)):
        sharing = list(members)
        first, done = specs[sharing[0]], state.meta_loop[sharing[0]]
        key = batches_of(first, done)
        if key not in orders:
            orders[key] = epoch_order(first.streams().order, done + 1, data.train.n_samples)
        for begin in range(0, len(sharing), group_size):
            chosen = [specs[i] for i in sharing[begin : begin + group_size]]
            size = len(chosen)
            groups.append(
                Group(
                    start=row,
                    stop=row + size,
                    order=orders[key],
                    place=_place(chosen[0], plan),
                    slots=_slots(chosen, plan),
                    steps=state.steps(sharing[0]),
                )
            )
            row += size
    return groups


def _place(spec: TrialSpec, plan: FleetPlan) -> int:
    """The place of a group in its study: by trial, and by mode where a replica is a group."""
    if plan.group_size > 1:
        return spec.trial - 1
    return (spec.trial - 1) * len(plan.mode_order) + plan.mode_order.index(spec.mode)


def _slots(members: Sequence[TrialSpec], plan: FleetPlan) -> tuple[int, ...]:
    """The place of each replica in its group: by its mode, or the next one that is free."""
    taken: list[int] = []
    for spec in members:
        slot = plan.mode_order.index(spec.mode) % plan.group_size
        while slot in taken:
            slot = (slot + 1) % plan.group_size
        taken.append(slot)
    return tuple(taken)
