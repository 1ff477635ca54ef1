"""The engine's dropout masks (`config.dropout_keep_mask`) for many replicas, on any device.

The 32-bit hash is computed in int64, whose low 32 bits do not care about overflow.

Shape letters: K slots that use dropout, R slots, B samples in a batch, V width of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from antifragile.config import derive_words
from antifragile.fleet.kernels import EpochJob

_GOLDEN, _MASK = 0x9E3779B9, 0xFFFFFFFF


@dataclass
class BatchedDropout:
    """Dropout of those slots that have it; the others pass unchanged.

    Args:
        slots: (K,) int64, which slots drop.
        keys: Their dropout streams' 64-bit keys.
        meta_loops: Their meta-loops.
        probabilities: Their drop probabilities.
    """

    slots: Tensor
    keys: Sequence[int]
    meta_loops: Sequence[int]
    probabilities: Sequence[float]
    step: int = 0
    n_samples: int = 0

    @classmethod
    def of(cls, job: EpochJob, replicas: Sequence[int]) -> BatchedDropout | None:
        """The dropout of a block of slots, or None when none of them drops."""
        slots = [slot for slot, replica in enumerate(replicas) if job.dropout[replica] > 0]
        if not slots:
            return None
        owners = [replicas[slot] for slot in slots]
        return cls(
            slots=torch.tensor(slots).to(job.weights.device),
            keys=[job.dropout_keys[owner] for owner in owners],
            meta_loops=[job.meta_loops[owner] for owner in owners],
            probabilities=[job.dropout[owner] for owner in owners],
        )

    def begin(self, step: int, n_samples: int) -> None:
        """Move to a batch: 0-based step and its number of samples."""
        self.step, self.n_samples = step, n_samples

    def apply(self, layer: int, hidden: Tensor) -> Tensor:
        """Drop and scale activations (R, B, V) of one hidden layer."""
        keep = self._keep(layer, hidden.shape[2])
        own = hidden[self.slots] * keep.to(hidden.dtype)
        return hidden.index_copy(0, self.slots, own * self._scales(hidden))

    def scale(self, gradient: Tensor) -> Tensor:
        """Scale gradients (R, B, V); what was dropped is masked by its zero activation."""
        own = gradient[self.slots] * self._scales(gradient)
        return gradient.index_copy_(0, self.slots, own)

    def _scales(self, like: Tensor) -> Tensor:
        scales = [1 / (1 - p) for p in self.probabilities]
        return torch.tensor(scales, dtype=torch.float64).to(like.device, like.dtype)[:, None, None]

    def _keep(self, layer: int, width: int) -> Tensor:
        device = self.slots.device
        words = [
            derive_words(key, meta_loop, self.step, layer)
            for key, meta_loop in zip(self.keys, self.meta_loops, strict=True)
        ]
        a, b = torch.tensor(words).to(device).T[..., None]  # both (K, 1)
        samples = _mix32((torch.arange(self.n_samples, device=device) * _GOLDEN + a) & _MASK)
        units = (torch.arange(width, device=device) * _GOLDEN + b) & _MASK
        thresholds = torch.tensor([int(p * 2**32) for p in self.probabilities]).to(device)
        mixed = _mix32(samples[:, :, None] ^ units[:, None, :])  # (K, B, V)
        return mixed >= thresholds[:, None, None]


def _mix32(x: Tensor) -> Tensor:
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & _MASK
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & _MASK
    return x ^ (x >> 16)
