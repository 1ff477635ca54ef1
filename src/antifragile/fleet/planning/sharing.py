"""Replicas that are about to do the same work: one of them is trained, all get the outcome.

Same weights, same ablation, same batches, no dropout, and factors of weight decay that are the
same number in the precision at hand. The paper's ``decay`` is such a case: ``1 - 1e-4 * 1e-4``
rounds to 1 in float32, so with paired trials it is ``none``, and training it again could only
give the same bits. The readable engine (``--engine plain``) does train it again.

Shape letters: R replicas, P parameters.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch

from antifragile.config.specs.trial import TrialSpec
from antifragile.fleet.planning.grouping import batches_of
from antifragile.fleet.state import FleetState


def leading_replicas(
    specs: Sequence[TrialSpec],
    state: FleetState,
    starts: Mapping[int, Hashable],
) -> dict[int, int]:
    """Choose for every active replica the one that is trained for it: itself, or another.

    Args:
        specs: Specs of all R replicas.
        state: State of the fleet before this meta-loop.
        starts: Change of its clone before the epoch, by active replica: equal where equal
            LKGs become equal candidates.
    """
    known: dict[object, list[int]] = {}
    leaders = {}
    for replica, start in starts.items():
        spec = specs[replica]
        batches = batches_of(spec, state.meta_loop[replica])
        work = (batches, _equation(spec, state.meta_loop[replica] + 1, state.lkg.dtype), start)
        alike = known.setdefault(work, [])
        weights = state.lkg[replica]
        leader = next((other for other in alike if torch.equal(state.lkg[other], weights)), replica)
        if leader == replica:
            alike.append(replica)
        leaders[replica] = leader
    return leaders


def _equation(spec: TrialSpec, meta_loop: int, dtype: torch.dtype) -> tuple[object, ...]:
    """Equal for two replicas that, from the same weights and batches, take the same steps."""
    streams, spec = spec.streams(meta_loop), spec.at(meta_loop)
    keep = 1 - spec.options.learning_rate * spec.weight_decay
    masks = streams.dropout.path if spec.dropout or spec.block_dropout else ()
    noise = streams.perturbation.path if spec.perturbations else ()
    return masks, noise, torch.tensor(keep, dtype=dtype).item()
