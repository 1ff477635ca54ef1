"""The compiled noise kernel: numbers of `streams.py`, added in the same pass, to the same bits.

Where it was not built, or for tensors it does not take (not on a CPU, half precision, not
contiguous), torch serves; only the time differs.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from antifragile.optim.streams import Stream

logger = logging.getLogger(__name__)

_DOORS = {
    torch.float32: "antifragile_noise_float32",
    torch.float64: "antifragile_noise_float64",
}
_ROW = np.dtype(
    [
        ("target", np.uint64),
        ("backup", np.uint64),
        ("count", np.int64),
        ("key", np.uint64),
        ("size", np.float64),
        ("parameter", np.uint32),
        ("first_block", np.uint32),
    ]
)


class _Job(ctypes.Structure):
    """The ``Job`` of ``native/noise.cpp``, field by field."""

    _fields_ = (
        ("rows", ctypes.c_void_p),
        ("n_rows", ctypes.c_int64),
        ("table", ctypes.c_void_p),
        ("step", ctypes.c_uint32),
        ("rule", ctypes.c_uint32),
        ("adds", ctypes.c_int32),
        ("threads", ctypes.c_int32),
    )


@cache
def load_noise_kernel() -> ctypes.CDLL | None:
    """Load the compiled kernel once; None, logged with the reason, where that cannot be."""
    folder = Path(__file__).parent
    for path in (folder / f"_noise{suffix}" for suffix in EXTENSION_SUFFIXES):
        if path.is_file():
            try:
                return ctypes.CDLL(str(path))
            except OSError as error:
                logger.warning("the noise kernel does not load (%s); torch serves instead", error)
                return None
    logger.info("the noise kernel was not built; torch serves instead")
    return None


def is_native(tensors: Sequence[Tensor]) -> bool:
    """Whether the compiled kernel can work on all of these tensors."""
    dtype = tensors[0].dtype
    return (
        dtype in _DOORS
        and all(
            t.device.type == "cpu" and t.dtype is dtype and t.is_contiguous() and not t.is_sparse
            for t in tensors
        )
        and load_noise_kernel() is not None
    )


def run_native(
    stream: Stream,
    table: Tensor | None,
    indices: Sequence[int],
    targets: Sequence[Tensor],
    sizes: Sequence[float | Tensor],
    *,
    adds: bool = True,
    backups: Sequence[Tensor] | None = None,
) -> None:
    """Add ``size * noise`` to every target in place, or write it there.

    Args:
        stream: Seeds, step and rule.
        table: (32768,) float32 magnitudes, or None for signs.
        indices: Of the parameters.
        targets: Contiguous CPU tensors of one dtype.
        sizes: A number, or (R,) numbers, per target.
        adds: False overwrites the targets.
        backups: Receive the targets' old values.
    """
    library = load_noise_kernel()
    assert library is not None
    rows = _rows(stream, indices, targets, sizes, backups)
    job = _Job(
        rows=rows.ctypes.data,
        n_rows=len(rows),
        table=None if table is None else table.data_ptr(),
        step=stream.step,
        rule=stream.rule,
        adds=adds,
        threads=torch.get_num_threads(),
    )
    getattr(library, _DOORS[targets[0].dtype])(ctypes.byref(job))
    for tensor in (*targets, *(backups or ())):
        torch.autograd.graph.increment_version(tensor)


def _rows(
    stream: Stream,
    indices: Sequence[int],
    targets: Sequence[Tensor],
    sizes: Sequence[float | Tensor],
    backups: Sequence[Tensor] | None,
) -> np.ndarray:
    """One row per parameter and replica, (K * R,)."""
    rows = _rows_but_sizes(
        stream.keys,
        tuple(indices),
        tuple([target.numel() for target in targets]),
        targets[0].element_size(),
        tuple([target.data_ptr() for target in targets]),
        None if backups is None else tuple([backup.data_ptr() for backup in backups]),
    ).copy()
    if any(isinstance(size, Tensor) for size in sizes):
        for row, size in zip(rows["size"], sizes, strict=True):
            row[:] = size.numpy() if isinstance(size, Tensor) else size
    else:
        rows["size"] = np.array(sizes, dtype=np.float64)[:, None]
    return rows.reshape(-1)


@lru_cache(maxsize=64)
def _rows_but_sizes(
    keys: tuple[int, ...],
    indices: tuple[int, ...],
    counts: tuple[int, ...],
    itemsize: int,
    targets: tuple[int, ...],
    backups: tuple[int, ...] | None,
) -> np.ndarray:
    """The rows (K, R) of one call, which are the same step after step but for the sizes."""
    replicas = len(keys)
    rows = np.zeros((len(targets), replicas), dtype=_ROW)
    each = np.array(counts)[:, None] // replicas  # elements of one replica, (K, 1)
    offsets = (each * np.arange(replicas) * itemsize).astype(np.uint64)  # bytes, (K, R)
    rows["target"] = np.array(targets, dtype=np.uint64)[:, None] + offsets
    if backups is not None:
        rows["backup"] = np.array(backups, dtype=np.uint64)[:, None] + offsets
    rows["count"] = each
    rows["key"] = np.array(keys, dtype=np.uint64)
    rows["parameter"] = np.array(indices, dtype=np.uint32)[:, None]
    return rows
