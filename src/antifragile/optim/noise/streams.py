"""Random numbers by address: (seed, rule, parameter, step) -> bits, without any state.

Philox4x32-10 (Salmon et al. 2011) maps a 64-bit key and a 128-bit counter to 128 random bits. The
key is the seed (of a replica), the counter is (block, parameter, step, rule), so noise can be
drawn again at any time, saved as a few integers, and does not depend on device or thread number.

    sign of element i:  bit i % 128 of block i // 128
    level of element i: 16 bits, half i % 8 of block i // 8; 15 of them choose an entry of a table
                        of magnitudes, the last is the sign

This is the readable version in torch, for any device; `kernel.py` computes the same bits on a CPU
and adds them in the same pass.

Shape letters: R replicas (1 where there are none), K parameters, B blocks of all parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
LEVELS = 1 << 15


@dataclass(frozen=True, kw_only=True)
class Stream:
    """The address of one rule's numbers at one step.

    Args:
        keys: Seeds, one per replica, each below 2**64.
        step: Step number, the third word of the counter.
        rule: Position of the rule, the fourth word; the rank is in the bits from the 16th up.
        batched: Whether tensors have a leading replica dimension.
    """

    keys: tuple[int, ...]
    step: int
    rule: int
    batched: bool = False


def philox(counter: Sequence[Tensor | int], key: Sequence[Tensor | int]) -> list[Tensor]:
    """Ten rounds of Philox4x32 over int64 tensors that hold 32-bit words.

    Args:
        counter: Four words, broadcastable.
        key: Two words, broadcastable with the counter.

    Returns:
        Four int64 tensors of 32-bit words.

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.
    """
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        first, second = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]  # bits 32-63: high word
        a, b, c, d = (
            ((second >> 32) & _MASK) ^ b ^ k0,
            second & _MASK,
            ((first >> 32) & _MASK) ^ d ^ k1,
            first & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return [torch.as_tensor(word) for word in (a, b, c, d)]


def words(
    stream: Stream, indices: Sequence[int], blocks: Sequence[int], device: torch.device
) -> Tensor:
    """Compute the random words of several parameters at once.

    Args:
        stream: Seeds, step and rule number.
        indices: Positions of the parameters in the optimizer, (K,).
        blocks: Number of 128-bit blocks that each parameter needs, (K,).
        device: Device to compute on.

    Returns:
        (R, B, 4) int32, the parameters' blocks one after another.
    """
    block, parameter = _addresses(tuple(indices), tuple(blocks), device)
    keys = torch.tensor([[k & _MASK, k >> 32] for k in stream.keys], device=device)[:, :, None]
    found = philox([block, parameter, stream.step, stream.rule], [keys[:, 0], keys[:, 1]])
    return torch.stack(found, dim=-1).to(torch.int32)


@cache
def _addresses(
    indices: tuple[int, ...], blocks: tuple[int, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Block number and parameter of every block, both (B,) int64."""
    block = torch.cat([torch.arange(count) for count in blocks])
    parameter = torch.repeat_interleave(torch.tensor(indices), torch.tensor(blocks))
    return block.to(device), parameter.to(device)


def draw(
    stream: Stream, table: Tensor | None, indices: Sequence[int], like: Sequence[Tensor]
) -> list[Tensor]:
    """Draw unit noise for several parameters.

    Args:
        stream: Seeds, step and rule number.
        table: (32768,) float32 magnitudes, or None for signs.
        indices: Positions of the parameters in the optimizer.
        like: Tensors whose shapes, dtypes and device the noise takes.
    """
    replicas, per_block = len(stream.keys), 128 if table is None else 8
    sizes = [tensor.numel() // replicas for tensor in like]
    blocks = [-(-size // per_block) for size in sizes]
    drawn = words(stream, indices, blocks, like[0].device)  # (R, B, 4)
    values = _signs(drawn) if table is None else _levels(drawn, table)  # (R, B * per_block)
    parts = torch.split(values, [count * per_block for count in blocks], dim=1)
    return [
        part[:, :size].reshape(tensor.shape).to(tensor.dtype)
        for part, size, tensor in zip(parts, sizes, like, strict=True)
    ]


def _signs(drawn: Tensor) -> Tensor:
    """+1 where a bit is 0, -1 where it is 1: (R, B * 128) float32."""
    octets = drawn.contiguous().view(torch.uint8).to(torch.int32)  # (R, B, 16)
    lookup = _sign_lookup(drawn.device)
    return lookup[octets.flatten()].reshape(len(drawn), -1)


@cache
def _sign_lookup(device: torch.device) -> Tensor:
    """(256, 8) float32: the signs of a byte's bits, lowest first."""
    bits = (torch.arange(256)[:, None] >> torch.arange(8)) & 1
    return (1.0 - 2.0 * bits).to(device=device, dtype=torch.float32)


def _levels(drawn: Tensor, table: Tensor) -> Tensor:
    """Table entries with their signs: (R, B * 8) float32."""
    halves = drawn.contiguous().view(torch.int16).to(torch.int32)  # (R, B, 8), negative: bit 15
    magnitude = table.to(drawn.device)[(halves & (LEVELS - 1)).flatten()]
    signs = 1.0 - 2.0 * (halves < 0).to(torch.float32).flatten()
    return (magnitude * signs).reshape(len(drawn), -1)


@cache
def normal_levels() -> Tensor:
    """Compute the standard normal law in 2 * 32768 equally likely levels, variance exactly one.

    A level is the mean of the law over its cell; the largest is 4.3. The Kolmogorov distance
    to the law is 1.5e-5, the excess kurtosis -6e-4.

    Returns:
        (32768,) float32 magnitudes, ascending.
    """
    law = NormalDist()
    edges = [law.inv_cdf(0.5 + 0.5 * k / LEVELS) for k in range(LEVELS)]
    density = np.array([law.pdf(edge) for edge in edges] + [0.0])
    means = (density[:-1] - density[1:]) * 2 * LEVELS
    return torch.from_numpy((means / np.sqrt(np.mean(means**2))).astype(np.float32))


@cache
def uniform_levels() -> Tensor:
    """Compute the uniform law of variance 1 in 2 * 32768 levels: (32768,) float32 magnitudes."""
    middles = (np.arange(LEVELS) + 0.5) / LEVELS
    return torch.from_numpy((middles / np.sqrt(np.mean(middles**2))).astype(np.float32))


def uniform(stream: Stream) -> list[float]:
    """Draw one number in [0, 1) per replica, for decisions; independent of all element noise."""
    counter = [_MASK, _MASK, stream.step, stream.rule]
    words_of = (philox(counter, [key & _MASK, key >> 32]) for key in stream.keys)
    return [int(first) / 2.0**32 for first, *_ in words_of]
