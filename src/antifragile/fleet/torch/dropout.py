"""The engine's dropout masks (`config.dropout_keep_mask`) for many replicas, on any device.

The 32-bit hash is computed in int64, whose low 32 bits are right in spite of overflow.

Shape letters: K slots that use dropout, R slots, H layers that it acts on, B samples in a batch, V
width of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from antifragile.config.seeds import derive_words
from antifragile.fleet.kernels import EpochJob
from antifragile.fleet.layout import FlatLayout

_GOLDEN, _MASK = 0x9E3779B9, 0xFFFFFFFF


class BatchedDropout:
    """Dropout of one kind of layers for the slots that use it; the others pass unchanged.

    Everything that changes from step to step is one small tensor on the device (`begin` fills it),
    so that a step is the same sequence of operations on the same memory and can be recorded.

    Args:
        job: The epoch.
        replicas: (R,) replica of each slot.
        probabilities: Drop probability of each replica in these layers, not all zero.
        layers: (H,) numbers of the linear layers that it acts after.
    """

    def __init__(
        self,
        job: EpochJob,
        replicas: Sequence[int],
        probabilities: Sequence[float],
        layers: Sequence[int],
    ) -> None:
        device, dtype = job.weights.device, job.weights.dtype
        slots = [slot for slot, replica in enumerate(replicas) if probabilities[replica] > 0]
        owners = [replicas[slot] for slot in slots]
        self.layers = {layer: place for place, layer in enumerate(layers)}
        self.streams = [(job.dropout_keys[owner], job.meta_loops[owner]) for owner in owners]
        self.slots = torch.tensor(slots).to(device)
        self.words = torch.zeros(len(layers), len(slots), 2, dtype=torch.int64).to(device)
        own = [probabilities[owner] for owner in owners]
        thresholds = [int(p * 2**32) for p in own]
        self.thresholds = torch.tensor(thresholds).to(device)[:, None, None]
        scales = torch.tensor([1 / (1 - p) for p in own], dtype=torch.float64)
        self.scales = scales.to(device, dtype)[:, None, None]

    def begin(self, step: int) -> None:
        """Prepare for one batch, given its 0-based step."""
        words = [
            [derive_words(key, meta_loop, step, layer) for key, meta_loop in self.streams]
            for layer in self.layers
        ]
        self.words.copy_(torch.tensor(words))  # (H, K, 2)

    def apply(self, layer: int, hidden: Tensor) -> Tensor:
        """Drop and scale activations (R, B, V) after one of the layers."""
        keep = self._keep(layer, *hidden.shape[1:])
        own = hidden[self.slots] * keep.to(hidden.dtype)
        return hidden.index_copy(0, self.slots, own * self.scales.to(hidden.dtype))

    def scale(self, gradient: Tensor) -> Tensor:
        """Scale gradients (R, B, V); dropped ones are masked later by their zero activation."""
        own = gradient[self.slots] * self.scales.to(gradient.dtype)
        return gradient.index_copy_(0, self.slots, own)

    def _keep(self, layer: int, n_samples: int, width: int) -> Tensor:
        device = self.slots.device
        a, b = self.words[self.layers[layer]].T[..., None]  # both (K, 1)
        samples = _mix32((torch.arange(n_samples, device=device) * _GOLDEN + a) & _MASK)
        units = (torch.arange(width, device=device) * _GOLDEN + b) & _MASK
        mixed = _mix32(samples[:, :, None] ^ units[:, None, :])  # (K, B, V)
        return mixed >= self.thresholds


def batched_dropout(
    job: EpochJob, layout: FlatLayout, replicas: Sequence[int]
) -> Mapping[int, BatchedDropout]:
    """Make the dropout of an epoch, by the linear layer that it acts after.

    Args:
        job: The epoch.
        layout: Layout of the replicas.
        replicas: (R,) replica of each slot.
    """
    found: dict[int, BatchedDropout] = {}
    for probabilities, layers in (
        (job.dropout, layout.outer_layers),
        (job.block_dropout, layout.inner_layers),
    ):
        if layers and any(probabilities[replica] > 0 for replica in replicas):
            dropout = BatchedDropout(job, replicas, probabilities, layers)
            found |= dict.fromkeys(layers, dropout)
    return found


def _mix32(x: Tensor) -> Tensor:
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & _MASK
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & _MASK
    return x ^ (x >> 16)
