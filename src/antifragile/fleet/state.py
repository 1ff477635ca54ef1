"""The state of a fleet: the LKGs of all replicas as one matrix, and four numbers for each.

Converts to and from the engine's `TrialState`, so checkpoints and results are shared.

Shape letters: R replicas, P parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from antifragile.engine.policies import LastKnownGood
from antifragile.engine.trial import TrialState
from antifragile.fleet.layout import FlatLayout


@dataclass
class FleetState:
    """The trainer's own, changing state; `trial_state` takes frozen copies out of it.

    Args:
        layout: Layout of each row of ``lkg``.
        lkg: (R, P) the last known good weights, the fresh initialisation before meta-loop 1.
        meta_loop: Finished meta-loops of each replica.
        bounty: Correct validation samples of each LKG; -1 before meta-loop 1.
        lkg_meta_loop: The meta-loop whose candidate each LKG was.
        final_correct: Correct validation samples of each replica's last candidate.
    """

    layout: FlatLayout
    lkg: Tensor
    meta_loop: list[int]
    bounty: list[int]
    lkg_meta_loop: list[int]
    final_correct: list[int]

    @classmethod
    def empty(cls, layout: FlatLayout, n: int, dtype: torch.dtype, device: str) -> FleetState:
        """Make a fleet of ``n`` replicas before meta-loop 1; weights are still to be filled in."""
        lkg = layout.empty(n, dtype, device)
        return cls(layout, lkg, [0] * n, [-1] * n, [0] * n, [0] * n)

    @property
    def n_replicas(self) -> int:
        """Number of replicas, R."""
        return len(self.lkg)

    def put(self, replica: int, state: TrialState) -> None:
        """Continue a replica from a state of the engine or of another fleet."""
        self.layout.flatten(state.lkg.weights, self.lkg[replica])
        self.meta_loop[replica] = state.meta_loop
        self.bounty[replica] = state.lkg.bounty
        self.lkg_meta_loop[replica] = state.lkg.meta_loop
        self.final_correct[replica] = state.final_correct

    def trial_state(self, replica: int) -> TrialState:
        """Copy one replica's state, as the engine keeps it."""
        assert self.meta_loop[replica] > 0, "a trial has a state only after its first meta-loop"
        weights = self.layout.views(self.lkg[replica].clone())
        lkg = LastKnownGood(
            weights={name: value.clone() for name, value in weights.items()},
            bounty=self.bounty[replica],
            meta_loop=self.lkg_meta_loop[replica],
        )
        return TrialState(
            meta_loop=self.meta_loop[replica],
            lkg=lkg,
            final_correct=self.final_correct[replica],
        )

    def trial_states(self) -> list[TrialState]:
        """Copy the states of all replicas."""
        return [self.trial_state(replica) for replica in range(self.n_replicas)]

    def settle(
        self, row_of: Mapping[int, int], candidates: Tensor, correct: Sequence[int]
    ) -> dict[int, bool]:
        """Promote each candidate that is strictly better than its bounty.

        Args:
            row_of: Row of each replica's candidate; replicas may share one.
            candidates: (rows, P) trained weights.
            correct: Their correct validation samples, (rows,).

        Returns:
            For each replica, whether its candidate was promoted.
        """
        promoted = {replica: correct[row] > self.bounty[replica] for replica, row in row_of.items()}
        for replica, row in row_of.items():
            self.meta_loop[replica] += 1
            self.final_correct[replica] = correct[row]
            if promoted[replica]:
                self.lkg[replica].copy_(candidates[row])  # row by row: no third copy of the fleet
                self.bounty[replica] = correct[row]
                self.lkg_meta_loop[replica] = self.meta_loop[replica]
        return promoted
