"""Clones of a fleet: their damage before an epoch, and the rule that judges them afterwards.

The engine's own functions choose, damage and draw, so a replica of the fleet loses what the same
trial of the engine loses.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from torch import Tensor

from antifragile.config.modes import get_mode
from antifragile.config.modifiers.records import DamageKind, OptimizerMemory
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.epoch import exact_numerics
from antifragile.engine.trial import Hits, choose_hits, damage_clone, initial_weights, most_rate
from antifragile.fleet.kernels import RowMoments
from antifragile.fleet.layout import FlatLayout
from antifragile.fleet.state import FleetState, Judge
from antifragile.model.neurons import ablate


@dataclass(frozen=True, kw_only=True)
class ClonePlan:
    """The change of a clone before its epoch.

    Args:
        meta_loop: The meta-loop that trains it.
        hits: The neurons that are hit.
        afresh: Whether a fresh network takes its place.
        start: Equal for two replicas whose equal LKGs become equal candidates.
    """

    meta_loop: int
    hits: Hits
    afresh: bool
    start: Hashable


def choose_clone(spec: TrialSpec, data: Dataset, state: FleetState, replica: int) -> ClonePlan:
    """Plan the clone of a replica's next meta-loop; nothing is hit in a fresh network."""
    meta_loop = state.meta_loop[replica] + 1
    variation = get_mode(spec.mode).at(meta_loop).variation
    remembers = variation.optimizer is not OptimizerMemory.RESET
    if variation.promotion.starts_afresh(meta_loop):
        afresh = meta_loop > 1  # before meta-loop 1 the LKG is the fresh network
        start: Hashable = replica if afresh or remembers else ()
        return ClonePlan(meta_loop=meta_loop, hits=Hits(), afresh=afresh, start=start)
    rate = state.standing(replica).rate
    measures = variation.targets.rank is not None  # on one thread, as the engine does
    with exact_numerics() if measures else nullcontext():
        hits = choose_hits(
            spec, data, lambda: state.layout.views(state.lkg[replica]), meta_loop, rate=rate
        )
    start = hits.targets
    if remembers or variation.damage is not DamageKind.ZERO:  # a memory, or numbers, of its own
        start = replica
    return ClonePlan(meta_loop=meta_loop, hits=hits, afresh=False, start=start)


def change_clone(
    spec: TrialSpec,
    data: Dataset,
    layout: FlatLayout,
    clone: Tensor,
    plan: ClonePlan,
    moments: RowMoments | None,
) -> None:
    """Do to a clone (P,) what was planned.

    Args:
        spec: The replica's trial.
        data: Its data set.
        layout: Layout of the clone.
        clone: A copy of the LKG, changed in place.
        plan: As `choose_clone` made it.
        moments: The memory of the replica's optimizer, which may lose its entries.
    """
    variation = get_mode(spec.mode).at(plan.meta_loop).variation
    zeroes = variation.optimizer is OptimizerMemory.ZEROED and moments is not None
    if plan.afresh:
        layout.flatten(initial_weights(spec, data, dtype=clone.dtype, draw=plan.meta_loop), clone)
    elif variation.damage is DamageKind.ZERO and not zeroes:
        for target in plan.hits.targets:  # without the masks of `damage_clone`, which take time
            ablate(layout.views(clone), target)
    else:
        masks = damage_clone(spec, data, layout.views(clone), plan.meta_loop, plan.hits)
        if zeroes and moments is not None:
            for part in (layout.views(moments.first), layout.views(moments.second)):
                for name, mask in masks.items():
                    part[name][mask] = 0


def prepare_memory(specs: Sequence[TrialSpec], state: FleetState) -> None:
    """Begin, keep or drop the memory of each optimizer, as the next meta-loop's mode says."""
    for replica, spec in enumerate(specs):
        meta_loop = state.meta_loop[replica] + 1
        if meta_loop > spec.meta_loops:
            continue
        variation = get_mode(spec.mode).at(meta_loop).variation
        if variation.optimizer is OptimizerMemory.RESET:
            state.moments.pop(replica, None)
        elif replica not in state.moments or variation.promotion.starts_afresh(meta_loop):
            state.begin_memory(replica)


def judge_of(spec: TrialSpec, data: Dataset, state: FleetState, replica: int) -> Judge:
    """Return the rule by which a replica's next candidate is judged."""
    meta_loop = state.meta_loop[replica] + 1
    promotion = get_mode(spec.mode).at(meta_loop).variation.promotion
    return Judge(promotion=promotion, most_rate=most_rate(spec, data, meta_loop))
