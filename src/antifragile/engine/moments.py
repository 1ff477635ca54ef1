"""AdamW's memory of a trial whose mode does not reset it: two moments of every weight, and a count.

The memory belongs to the run of candidates, not to the LKG: it goes on whether a candidate was
promoted or not, as it would in training without meta-loops, which is what a mode asks for when it
drops the reset. Only a fresh network starts without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from antifragile.model.networks import Weights


@dataclass(frozen=True, kw_only=True)
class Moments:
    """The memory of an AdamW over a network.

    Args:
        first: Running mean of the gradients, by parameter.
        second: Running mean of their squares.
        steps: Updates so far.
    """

    first: Weights
    second: Weights
    steps: int

    def on(self, device: str) -> Moments:
        """Return the same memory on another device."""
        first, second = (
            {name: value.to(device) for name, value in part.items()}
            for part in (self.first, self.second)
        )
        return replace(self, first=first, second=second)

    def without(self, masks: Mapping[str, Tensor]) -> Moments:
        """Return a copy whose moments are zero at some entries.

        Args:
            masks: For every parameter, bool of its shape: the entries.
        """
        first, second = (
            {name: value.masked_fill(masks[name], 0) for name, value in part.items()}
            for part in (self.first, self.second)
        )
        return replace(self, first=first, second=second)


def take_moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> Moments:
    """Copy the memory of an AdamW that has made a step."""
    memory = {name: optimizer.state[value] for name, value in model.named_parameters()}
    return Moments(
        first={name: state["exp_avg"].clone() for name, state in memory.items()},
        second={name: state["exp_avg_sq"].clone() for name, state in memory.items()},
        steps=int(next(iter(memory.values()))["step"]),
    )


def give_moments(model: nn.Module, optimizer: torch.optim.Optimizer, moments: Moments) -> None:
    """Let a fresh AdamW go on with a memory, which stays as it is."""
    for name, value in model.named_parameters():
        optimizer.state[value] = {
            "step": torch.tensor(float(moments.steps), dtype=torch.float32),
            "exp_avg": moments.first[name].clone(),
            "exp_avg_sq": moments.second[name].clone(),
        }
