"""Finding and loading the compiled kernel, and the C structure that it is called with.

The package is built with up to four versions of one source (AVX-512 with and without bf16
products, AVX2 with FMA, plain); the best one that was built and that this processor runs is loaded,
once. Every version computes bf16 products by the same rule: operands rounded to bfloat16, float32
sums. Without the instruction they are float32 multiplications of rounded operands.
"""

from __future__ import annotations

import ctypes
import logging
import platform
from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

VERSIONS = ("plain", "avx2", "avx512", "avx512bf16")
"""From the least to the most demanding; the index is the level a processor must have."""

BF16_VERSIONS = ("avx512bf16",)
"""Versions with instructions for bf16 products; they are used for nothing else."""

BF16_FROM_INPUTS = 32
"""Layers after the first round only from this many inputs on (WIDE_FROM in cpp/network.hpp)."""

_SUFFIX = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
_STORED_FEATURES = 32  # bfloat16 samples are padded to a multiple of this (cpp/bfloat16.hpp)


class NativeJob(ctypes.Structure):
    """The ``Job`` of ``cpp/group.hpp``, field by field."""

    _fields_ = (
        ("n_layers", ctypes.c_int64),
        ("sizes", ctypes.c_void_p),
        ("adds", ctypes.c_void_p),
        ("images", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("n_train", ctypes.c_int64),
        ("evaluation", ctypes.c_void_p),
        ("evaluation_labels", ctypes.c_void_p),
        ("n_evaluation", ctypes.c_int64),
        ("batch_size", ctypes.c_int64),
        ("learning_rate", ctypes.c_double),
        ("beta1", ctypes.c_double),
        ("beta2", ctypes.c_double),
        ("epsilon", ctypes.c_double),
        ("n_groups", ctypes.c_int64),
        ("group_start", ctypes.c_void_p),
        ("orders", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        ("weight_decay", ctypes.c_void_p),
        ("dropout", ctypes.c_void_p),
        ("block_dropout", ctypes.c_void_p),
        ("dropout_key", ctypes.c_void_p),
        ("meta_loop", ctypes.c_void_p),
        ("train_loss", ctypes.c_void_p),
        ("correct", ctypes.c_void_p),
        ("threads", ctypes.c_int64),
        ("stop", ctypes.c_void_p),
        ("first_moment", ctypes.c_void_p),
        ("second_moment", ctypes.c_void_p),
        ("steps", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class NativeLibrary:
    """One loaded version of the compiled kernel."""

    version: str
    library: ctypes.CDLL

    @property
    def has_bf16(self) -> bool:
        """Whether bf16 products are instructions of the processor."""
        return self.version in BF16_VERSIONS

    def run(self, job: NativeJob, dtype: torch.dtype) -> None:
        """Train and count; the interpreter lock is released meanwhile.

        Args:
            job: The replicas, the data and the options.
            dtype: Type of the operands of products; with bfloat16 the weights are float32.

        Raises:
            MemoryError: The group's buffers cannot be allocated.
        """
        run = getattr(self.library, f"antifragile_run_{_SUFFIX[dtype]}")
        if run(ctypes.byref(job)) != 0:
            raise MemoryError("the compiled kernel cannot allocate its buffers; lower the memory")

    def pack(self, images: Tensor) -> Tensor:
        """Turn images (N, d) into the kernel's panels, (ceil(N / 64), d, 64).

        Panels of bfloat16 hold pairs of features: (ceil(N / 64), ceil(d / 2), 64, 2).
        """
        n_samples, n_inputs = images.shape
        shape: tuple[int, ...] = (-(-n_samples // 64), n_inputs, 64)
        if images.dtype == torch.bfloat16:
            images = stored_bf16(images)
            shape = (shape[0], -(-n_inputs // 2), 64, 2)
        panels = torch.zeros(shape, dtype=images.dtype)
        getattr(self.library, f"antifragile_pack_{_SUFFIX[images.dtype]}")(
            ctypes.c_void_p(images.data_ptr()),
            ctypes.c_int64(n_samples),
            ctypes.c_int64(n_inputs),
            ctypes.c_void_p(panels.data_ptr()),
        )
        return panels


def stored_bf16(images: Tensor) -> Tensor:
    """Round images (N, d) to bfloat16 as the kernel reads them, d padded with zeros.

    Args:
        images: (N, d), any floating dtype.
    """
    n_samples, n_inputs = images.shape
    padded = -(-n_inputs // _STORED_FEATURES) * _STORED_FEATURES
    stored = torch.zeros(n_samples, padded, dtype=torch.bfloat16)
    stored[:, :n_inputs].copy_(images)
    return stored


@cache
def load_native(version: str | None = None, *, bf16: bool = False) -> NativeLibrary | None:
    """Load the compiled kernel, the best version for this processor unless one is named.

    Args:
        version: One of `VERSIONS`.
        bf16: Allow the versions that serve bf16 products alone.

    Returns:
        None where it was not built or cannot be loaded; that is logged once, with the reason.
    """
    try:
        level = _open("plain").antifragile_processor_level()
        fit = [v for v in VERSIONS[: level + 1] if bf16 or v not in BF16_VERSIONS]
        chosen = version or next(v for v in reversed(fit) if _path(v))
        if VERSIONS.index(chosen) > level:
            raise OSError(f"this processor does not run the {chosen} version")
        return NativeLibrary(chosen, _open(chosen))
    except OSError as error:
        logger.warning("the compiled kernel is not available (%s); torch serves instead", error)
        return None


def _open(version: str) -> ctypes.CDLL:
    path = _path(version)
    if path is None:
        raise OSError(f"no {version} version was built for {platform.machine()}")
    return ctypes.CDLL(str(path))


def _path(version: str) -> Path | None:
    folder = Path(__file__).parent
    candidates = (folder / f"_kernel_{version}{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)
