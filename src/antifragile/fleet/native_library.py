"""Finding and loading the compiled kernel, and the C structure it is called with.

The package is built with up to three versions of one source (AVX-512, AVX2 with FMA, plain); the
best one that was built and that this processor runs is loaded, once.
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

VERSIONS = ("plain", "avx2", "avx512")
"""From the least to the most demanding; the index is what the processor is asked for."""

_SUFFIX = {torch.float32: "float32", torch.float64: "float64"}


class NativeJob(ctypes.Structure):
    """The ``Job`` of ``native/group.hpp``, field by field."""

    _fields_ = (
        ("n_layers", ctypes.c_int64),
        ("sizes", ctypes.c_void_p),
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
        ("dropout_key", ctypes.c_void_p),
        ("meta_loop", ctypes.c_void_p),
        ("train_loss", ctypes.c_void_p),
        ("correct", ctypes.c_void_p),
        ("threads", ctypes.c_int64),
        ("stop", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class NativeLibrary:
    """One loaded version of the compiled kernel."""

    version: str
    library: ctypes.CDLL

    def run(self, job: NativeJob, dtype: torch.dtype) -> None:
        """Train and count; the interpreter lock is released meanwhile.

        Raises:
            MemoryError: The group's buffers cannot be allocated.
        """
        run = getattr(self.library, f"antifragile_run_{_SUFFIX[dtype]}")
        if run(ctypes.byref(job)) != 0:
            raise MemoryError("the compiled kernel cannot allocate its buffers; lower the memory")

    def pack(self, images: Tensor) -> Tensor:
        """Turn images (N, d) into the kernel's panels, (ceil(N / 64), d, 64)."""
        n_samples, n_inputs = images.shape
        panels = torch.zeros(-(-n_samples // 64), n_inputs, 64, dtype=images.dtype)
        getattr(self.library, f"antifragile_pack_{_SUFFIX[images.dtype]}")(
            ctypes.c_void_p(images.data_ptr()),
            ctypes.c_int64(n_samples),
            ctypes.c_int64(n_inputs),
            ctypes.c_void_p(panels.data_ptr()),
        )
        return panels


@cache
def load_native(version: str | None = None) -> NativeLibrary | None:
    """Load the compiled kernel, the best version for this processor unless one is named.

    Returns:
        None where it was not built or cannot be loaded; that is logged once, with the reason.
    """
    try:
        level = _open("plain").antifragile_processor_level()
        chosen = version or next(v for v in reversed(VERSIONS[: level + 1]) if _path(v))
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
