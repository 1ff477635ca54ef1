"""The neurons that ReDo and SNR draw anew, judged after an update on the batch of the update.

ReDo, every F updates, counted over all meta-loops of a trial so that F may be longer than an epoch:

    dormant = mean |activation| <= tau * mean of the layer            F = 1000, tau = 0.025

SNR, after every update: a neuron is silent in a batch if it fires on no sample of it. Its age is
the number of batches since it last fired, its intervals are the distances between batches in which
it fires, and it is drawn anew when so long a silence is improbable by its own intervals:

    (number of intervals > age + [age < n0]) / (number of intervals + 1)  <=  eta         eta = 0.02

The second term is one made-up interval of n0 = 16 batches, which settles how long a neuron may be
silent that has not fired yet; the paper leaves that open. Ages and intervals begin anew in every
meta-loop, and for a neuron that is drawn anew.

Source: Sokar et al. 2023, "The Dormant Neuron Phenomenon in Deep Reinforcement Learning",
arXiv 2302.12902, section 4. Farias and Jozefiak 2024, "Self-Normalized Resets for Plasticity in
Continual Learning", arXiv 2410.20098.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from antifragile.config.modifiers.records import DORMANT_SHARE

REJECTION = 0.02
FIRST_INTERVAL = 16


def dormant_neurons(activations: Sequence[Tensor]) -> list[Tensor]:
    """Find the dormant neurons of every hidden layer, (W,) bool, from activations (B, W)."""
    means = [hidden.abs().mean(dim=0) for hidden in activations]
    return [mean <= DORMANT_SHARE * mean.mean() for mean in means]


class SilenceTest:
    """The test of SNR on the hidden neurons of one network, batch by batch of one epoch.

    Args:
        widths: Neurons of the hidden layers.
        n_batches: Batches of the epoch.
    """

    def __init__(self, widths: Sequence[int], n_batches: int) -> None:
        self._widths = list(widths)
        n_neurons = sum(widths)
        self._ages = torch.zeros(n_neurons, dtype=torch.int64)
        self._intervals = torch.zeros(n_neurons, n_batches, dtype=torch.int64)  # of 1, 2, ...
        self._lengths = torch.arange(1, n_batches + 1)

    def silent_neurons(self, activations: Sequence[Tensor]) -> list[Tensor]:
        """Take in the activations (B, W) of the next batch; return whom to draw anew, (W,) bool."""
        fires = torch.cat([(hidden > 0).any(dim=0) for hidden in activations]).cpu()
        self._ages += 1
        self._intervals[fires, self._ages[fires] - 1] += 1
        self._ages[fires] = 0
        quiet = torch.nonzero(~fires)[:, 0]
        ages, intervals = self._ages[quiet], self._intervals[quiet]
        exceeding = (intervals * (self._lengths > ages[:, None])).sum(dim=1)
        exceeding += ages < FIRST_INTERVAL
        chosen = quiet[exceeding <= REJECTION * (intervals.sum(dim=1) + 1)]
        self._ages[chosen], self._intervals[chosen] = 0, 0
        silent = torch.zeros_like(fires)
        silent[chosen] = True
        return list(torch.split(silent, self._widths))
