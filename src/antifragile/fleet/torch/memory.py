"""AdamW's memory in a block of replicas: given before an epoch, taken after it.

All replicas of a block have made as many updates; those that start afresh have made none.

Shape letters: R replicas (slots of a block, padding included), P parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from antifragile.fleet.kernels import EpochJob, RowMoments
from antifragile.fleet.torch.updates import Update


@dataclass
class BlockMemory:
    """The memory of a block's optimizer.

    Args:
        kept: Memory of each slot's replica, None where it is forgotten after the epoch.
        first: (R, P), zeros where it begins.
        second: (R, P).
        steps: Updates so far.
    """

    kept: list[RowMoments | None]
    first: Tensor
    second: Tensor
    steps: int

    @classmethod
    def of(cls, job: EpochJob, replicas: Sequence[int], *, steps: int) -> BlockMemory | None:
        """Collect the memory of the replicas of a block; None where none is kept."""
        kept = [job.moments[replica] if job.moments else None for replica in replicas]
        if not any(kept):
            return None
        nothing = torch.zeros_like(job.weights[0])
        first = torch.stack([nothing if row is None else row.first for row in kept])
        second = torch.stack([nothing if row is None else row.second for row in kept])
        return cls(kept, first, second, steps)

    def give(self, update: Update) -> None:
        """Let a fresh optimizer go on with this memory, unless nothing is remembered yet."""
        if not self.steps:
            return
        parameters = update.optimizer.param_groups[0]["params"]
        pairs = zip(update.split(self.first), update.split(self.second), strict=True)
        for parameter, (first, second) in zip(parameters, pairs, strict=True):
            update.optimizer.state[parameter] = {
                "step": torch.tensor(
                    float(self.steps), dtype=torch.float32, device=parameter.device
                ),
                "exp_avg": first.clone(memory_format=torch.contiguous_format),
                "exp_avg_sq": second.clone(memory_format=torch.contiguous_format),
            }

    def take(self, update: Update) -> None:
        """Copy the memory out of the optimizer."""
        parameters = update.optimizer.param_groups[0]["params"]
        pairs = zip(update.split(self.first), update.split(self.second), strict=True)
        for parameter, (first, second) in zip(parameters, pairs, strict=True):
            state = update.optimizer.state[parameter]
            first.copy_(state["exp_avg"])
            second.copy_(state["exp_avg_sq"])
            self.steps = int(state["step"])

    def give_back(self, owners: Sequence[tuple[int, int]]) -> None:
        """Write the memory to the replicas that keep it.

        Args:
            owners: (slot, replica) of every slot that is no padding.
        """
        for slot, _ in owners:
            if (row := self.kept[slot]) is not None:
                row.first.copy_(self.first[slot])
                row.second.copy_(self.second[slot])
                row.steps = self.steps
