"""The state of a fleet: the LKGs of all replicas as one matrix, and where each replica stands.

Further states that a promotion rule keeps are rows of their own, there only while they are kept.
Converts to and from the engine's `TrialState`, so checkpoints and results are shared.

Shape letters: R replicas, P parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from antifragile.config.modifiers.records import Promotion
from antifragile.engine.moments import Moments
from antifragile.engine.policies import (
    GREEDY,
    KeptStates,
    Progress,
    StateSlot,
    decide,
    filled_slots,
)
from antifragile.engine.trial import TrialState
from antifragile.fleet.kernels import RowMoments
from antifragile.fleet.layout import FlatLayout
from antifragile.model.networks import Weights


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The rule by which a replica's next candidate is judged.

    Args:
        promotion: The promotion rule.
        most_rate: Upper bound of an adaptive rate; 1 where the mode has none.
    """

    promotion: Promotion = GREEDY
    most_rate: int = 1


@dataclass
class FleetState:
    """The trainer's own, changing state; `trial_state` takes frozen copies out of it.

    Args:
        layout: Layout of each row of ``lkg``.
        lkg: (R, P) the last known good weights, the fresh initialisation before meta-loop 1.
        meta_loop: Finished meta-loops of each replica.
        progress: Standing of each replica; None before meta-loop 1.
        final_correct: Correct validation samples of each replica's last candidate.
        others: (P,) weights of the other states that are kept, by replica and slot.
        moments: Memory of the optimizers that are not reset, by replica.
    """

    layout: FlatLayout
    lkg: Tensor
    meta_loop: list[int]
    progress: list[Progress[int] | None]
    final_correct: list[int]
    others: dict[tuple[int, StateSlot], Tensor] = field(default_factory=dict)
    moments: dict[int, RowMoments] = field(default_factory=dict)

    @classmethod
    def empty(cls, layout: FlatLayout, n: int, dtype: torch.dtype, device: str) -> FleetState:
        """Make a fleet of ``n`` replicas before meta-loop 1; weights are still to be filled in."""
        return cls(layout, layout.empty(n, dtype, device), [0] * n, [None] * n, [0] * n)

    @property
    def n_replicas(self) -> int:
        """Number of replicas, R."""
        return len(self.lkg)

    def put(self, replica: int, state: TrialState) -> None:
        """Continue a replica from a state of the engine or of another fleet."""
        for slot, weights in state.kept.weights.items():
            row = (
                self.lkg[replica] if slot is StateSlot.LKG else torch.empty_like(self.lkg[replica])
            )
            self._fill(replica, slot, self.layout.flatten(weights, row))
        self.meta_loop[replica] = state.meta_loop
        self.progress[replica] = state.kept.progress
        self.final_correct[replica] = state.final_correct
        if (moments := state.moments) is not None:
            first, second = (
                self.layout.flatten(part, torch.empty_like(self.lkg[replica]))
                for part in (moments.first, moments.second)
            )
            self.moments[replica] = RowMoments(first=first, second=second, steps=moments.steps)

    def steps(self, replica: int) -> int:
        """Return the updates that a replica's optimizer remembers; 0 where it is fresh."""
        return self.moments[replica].steps if replica in self.moments else 0

    def begin_memory(self, replica: int) -> None:
        """Let a replica's optimizer remember from now on."""
        nothing = torch.zeros_like(self.lkg[replica])
        self.moments[replica] = RowMoments(first=nothing, second=nothing.clone())

    def standing(self, replica: int) -> Progress[int]:
        """Return where a replica stands after its first meta-loop."""
        progress = self.progress[replica]
        assert progress is not None, "a trial has a state only after its first meta-loop"
        return progress

    def trial_state(self, replica: int) -> TrialState:
        """Copy one replica's state, as the engine keeps it."""
        progress = self.standing(replica)
        weights = {slot: self._copy(self._row(replica, slot)) for slot in filled_slots(progress)}
        moments = None
        if (row := self.moments.get(replica)) is not None:
            first, second = self._copy(row.first), self._copy(row.second)
            moments = Moments(first=first, second=second, steps=row.steps)
        return TrialState(
            kept=KeptStates(progress=progress, weights=weights),
            final_correct=self.final_correct[replica],
            moments=moments,
        )

    def trial_states(self) -> list[TrialState]:
        """Copy the states of all replicas."""
        return [self.trial_state(replica) for replica in range(self.n_replicas)]

    def best(self) -> Tensor:
        """Return the weights (R, P) that hold the bounties; the LKGs where these do."""
        rows = {i: row for (i, slot), row in self.others.items() if slot is StateSlot.BEST}
        if not rows:
            return self.lkg
        return torch.stack([rows.get(i, row) for i, row in enumerate(self.lkg)])

    def settle(
        self,
        row_of: Mapping[int, int],
        candidates: Tensor,
        correct: Sequence[int],
        judges: Mapping[int, Judge],
    ) -> None:
        """Judge every candidate, and keep what its rule says.

        Args:
            row_of: Row of each replica's candidate; replicas may share one.
            candidates: (rows, P) trained weights.
            correct: Their correct validation samples, (rows,).
            judges: Rule of each replica.
        """
        for replica, row in row_of.items():
            judge = judges[replica]
            decision = decide(
                judge.promotion, self.progress[replica], correct[row], most_rate=judge.most_rate
            )
            for source, slot in decision.copies:  # row by row: no third copy of the fleet
                from_candidate = source is StateSlot.CANDIDATE
                self._fill(
                    replica, slot, candidates[row] if from_candidate else self._row(replica, source)
                )
            for slot in {StateSlot.BEST, StateSlot.RECENT} - filled_slots(decision.progress):
                self.others.pop((replica, slot), None)
            self.meta_loop[replica] += 1
            self.progress[replica] = decision.progress
            self.final_correct[replica] = correct[row]

    def _row(self, replica: int, slot: StateSlot) -> Tensor:
        return self.lkg[replica] if slot is StateSlot.LKG else self.others[replica, slot]

    def _fill(self, replica: int, slot: StateSlot, weights: Tensor) -> None:
        if slot is StateSlot.LKG:
            self.lkg[replica].copy_(weights)
        else:
            self.others[replica, slot] = weights.clone()

    def _copy(self, row: Tensor) -> Weights:
        return {name: value.clone() for name, value in self.layout.views(row).items()}
