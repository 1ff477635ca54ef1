"""Randomness as a tree of named, counter-based streams.

A stream is found by its path of names, never by how much was drawn before it, and inside a
stream by counters (meta-loop, step). So a new draw in one place moves nothing elsewhere, any
meta-loop can be replayed alone, and the numbers do not depend on what else runs.

Two kinds of number come out: NumPy generators (Philox, a counter-based generator; Salmon et al.
2011) for orders and choices, and 32-bit words from an integer hash for dropout masks, which
every kernel, in whatever language, can compute for itself (`mix32`, `derive_words`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np

_MASK64 = (1 << 64) - 1


class Pairing(StrEnum):
    """Which trials share their initial weights and batch orders.

    PAIRED: all modes of a trial do (common random numbers, the default).
    INDEPENDENT: no two trials do (what the paper ran).
    """

    PAIRED = "paired"
    INDEPENDENT = "independent"


@dataclass(frozen=True)
class SeedTree:
    """A node in the tree of streams, named by a path below a root seed.

    Example:
        >>> tree = SeedTree(1337).child("4*4", 1)
        >>> first = tree.child("order").generator(3).permutation(5)
        >>> again = tree.child("order").generator(3).permutation(5)
        >>> bool((first == again).all())
        True
    """

    seed: int
    path: tuple[str | int, ...] = ()

    def child(self, *names: str | int) -> SeedTree:
        """The stream below this one with ``names`` appended to its path."""
        return SeedTree(self.seed, self.path + names)

    @cached_property
    def key(self) -> int:
        """A 128-bit key, the BLAKE2b hash of seed and path."""
        text = repr((int(self.seed), self.path)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")

    @property
    def key64(self) -> int:
        """The low 64 bits of the key, for generators and hashes that take one word."""
        return self.key & _MASK64

    def generator(self, meta_loop: int = 0, step: int = 0) -> np.random.Generator:
        """A fresh NumPy generator at ``(meta_loop, step)`` of this stream.

        The two counters occupy the upper words of Philox's 256-bit counter, so streams at
        different counters never overlap.
        """
        return np.random.Generator(np.random.Philox(key=self.key, counter=[0, 0, step, meta_loop]))


@dataclass(frozen=True, kw_only=True)
class TrialStreams:
    """The five streams of one trial of one mode."""

    init: SeedTree
    order: SeedTree
    ablation: SeedTree
    dropout: SeedTree
    perturbation: SeedTree


def derive_words(key64: int, *counters: int) -> tuple[int, int]:
    """Hash a 64-bit key and any number of counters to two 32-bit words (low, high).

    Each counter is absorbed by one round of SplitMix64 (Steele et al. 2014).
    """
    state = key64 & _MASK64
    for counter in counters:
        state = _splitmix64((state ^ (counter & _MASK64)) & _MASK64)
    return state & 0xFFFFFFFF, state >> 32


def _splitmix64(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK64
    return value ^ (value >> 31)


def mix32(x: np.ndarray) -> np.ndarray:
    """Scramble an array of uint32: the two-multiply finaliser 'lowbias32'.

    Constants by Chris Wellons, "Prospecting for Hash Functions" (2018); any kernel that has
    32-bit multiplication modulo 2^32 can reproduce it.
    """
    x = x.astype(np.uint32, copy=True)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def dropout_keep_mask(
    stream: SeedTree, *, meta_loop: int, step: int, layer: int, shape: tuple[int, int], p: float
) -> np.ndarray:
    """Compute which activations of one hidden layer survive dropout in one training step.

    A pure function of (key, meta-loop, step, layer, sample, unit): with ``(a, b) =
    derive_words(key64, meta_loop, step, layer)`` a sample's word is ``mix32(sample * G + a)``,
    an element's ``mix32(word ^ (unit * G + b))``, all modulo 2^32 with G = 0x9E3779B9, and the
    unit survives when its word is at least ``floor(p * 2^32)``.

    Args:
        stream: The trial's dropout stream.
        meta_loop: 1-based.
        step: 0-based batch within the epoch.
        layer: 0-based hidden layer.
        shape: ``(samples, units)``: rows of the batch by width of the layer.
        p: Probability of being dropped, in [0, 1).

    Returns:
        (samples, units) bool, True where the activation is kept (and scaled by 1 / (1 - p)).
    """
    a, b = derive_words(stream.key64, meta_loop, step, layer)
    golden = np.uint32(0x9E3779B9)
    samples = np.arange(shape[0], dtype=np.uint32) * golden + np.uint32(a)
    units = np.arange(shape[1], dtype=np.uint32) * golden + np.uint32(b)
    words = mix32(mix32(samples)[:, None] ^ units[None, :])
    keep: np.ndarray = words >= np.uint32(int(p * 2**32))
    return keep
