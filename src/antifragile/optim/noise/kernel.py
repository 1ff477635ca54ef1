"""The compiled noise kernel, which draws the numbers of `streams.py` and adds them in one pass.

It can also write perturbed copies in that pass, copies large tensors past the caches, and computes
checksums.

Where the kernel was not built, and for tensors that it cannot take (views, transposed matrices),
torch computes the same bits more slowly; on GPUs the kernel in `gpu.py` does.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from itertools import chain
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from antifragile.optim.noise.layouts import is_dense, layout_of
from antifragile.optim.noise.streams import Stream

logger = logging.getLogger(__name__)

_ENTRY_POINTS = {
    torch.float32: "antifragile_run_float32",
    torch.float64: "antifragile_run_float64",
    torch.bfloat16: "antifragile_run_bfloat16",
    torch.float16: "antifragile_run_float16",
    torch.uint8: "antifragile_run_bytes",  # checksums and copies of any other
}
_WRITE, _ADD, _COPY, _CHECK, _ALONG = range(5)


class _Job(ctypes.Structure):
    """The ``Job`` of ``kernel.cpp``, field by field."""

    _fields_ = (
        ("targets", ctypes.POINTER(ctypes.c_void_p)),
        ("sources", ctypes.POINTER(ctypes.c_void_p)),
        ("counts", ctypes.POINTER(ctypes.c_int64)),
        ("parameters", ctypes.POINTER(ctypes.c_uint32)),
        ("sizes", ctypes.POINTER(ctypes.c_double)),
        ("keys", ctypes.POINTER(ctypes.c_uint64)),
        ("n_parameters", ctypes.c_int64),
        ("n_replicas", ctypes.c_int64),
        ("table", ctypes.c_void_p),
        ("step", ctypes.c_uint32),
        ("rule", ctypes.c_uint32),
        ("action", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("checksums", ctypes.c_void_p),
        ("factors", ctypes.POINTER(ctypes.c_void_p)),
        ("filters", ctypes.POINTER(ctypes.c_int64)),
        ("scales", ctypes.POINTER(ctypes.c_double)),
        ("channels", ctypes.POINTER(ctypes.c_int64)),
        ("places", ctypes.POINTER(ctypes.c_int64)),
    )


@cache
def load_noise_kernel() -> dict[torch.dtype, Callable[[object], None]] | None:
    """Load the compiled kernel once: a function per dtype, or None with the reason in the log."""
    folder = Path(__file__).parent
    for path in (folder / f"_noise{suffix}" for suffix in EXTENSION_SUFFIXES):
        if path.is_file():
            try:
                library = ctypes.CDLL(str(path))
                return {dtype: getattr(library, name) for dtype, name in _ENTRY_POINTS.items()}
            except (OSError, AttributeError) as error:  # AttributeError: another version
                logger.warning("the noise kernel does not load (%s); torch serves instead", error)
                return None
    logger.info("the noise kernel was not built; torch serves instead")
    return None


def kernel_for(
    targets: Sequence[Tensor], sources: Sequence[Tensor] | None = None
) -> Callable[..., Tensor | None] | None:
    """Choose the kernel for these tensors: `run_native`, `gpu.run_on_gpu`, or None for torch."""
    if is_native(targets, sources):
        return run_native
    gpu = _gpu_kernel() if targets[0].device.type == "cuda" else None
    can = gpu is not None and gpu.can_run_on_gpu([*targets, *(sources or ())])
    return gpu.run_on_gpu if gpu is not None and can else None


@cache
def _gpu_kernel() -> ModuleType | None:
    try:
        return importlib.import_module("antifragile.optim.noise.gpu")
    except ImportError as error:
        logger.warning("no Triton (%s); torch draws the noise on the GPU, more slowly", error)
        return None


def is_native(targets: Sequence[Tensor], sources: Sequence[Tensor] | None = None) -> bool:
    """Whether the compiled kernel can perturb all of these tensors, or copies of their sources."""
    dtype, layouts = targets[0].dtype, [layout_of(target) for target in targets]
    is_known = dtype in _ENTRY_POINTS and dtype.is_floating_point and None not in layouts
    if not (is_known and can_check(targets)):
        return False
    return not sources or ([layout_of(s) for s in sources] == layouts and can_check(sources))


def can_add(*lists: Sequence[Tensor]) -> bool:
    """Whether `add_native` can add from list to list: these tensors lie alike in memory."""
    everything = [tensor for tensors in lists for tensor in tensors]
    dtype = everything[0].dtype
    is_known = dtype in _ENTRY_POINTS and dtype.is_floating_point
    return (
        is_known
        and all(len({t.stride() for t in row}) == 1 for row in zip(*lists, strict=True))
        and can_check(everything)
    )


def can_check(tensors: Sequence[Tensor]) -> bool:
    """Whether the compiled kernel can compute the checksums of all of these tensors."""
    dtype, strided = tensors[0].dtype, torch.strided
    if load_noise_kernel() is None:
        return False
    for t in tensors:
        if not (t.is_cpu and t.dtype is dtype and t.layout is strided and is_dense(t)):
            return False
    return True


def run_native(
    stream: Stream,
    table: Tensor | None,
    indices: Sequence[int],
    targets: Sequence[Tensor],
    sizes: Sequence[float | Tensor],
    *,
    adds: bool = True,
    sources: Sequence[Tensor] | None = None,
    factors: Sequence[Tensor] | None = None,
) -> Tensor | None:
    """Add ``size * noise`` to every target, or write it there.

    Args:
        stream: Seeds, step and rule number.
        table: (32768,) float32 magnitudes, or None for signs.
        indices: Positions of the targets' parameters in the optimizer.
        targets: CPU tensors of one dtype, contiguous or in a channels-last format.
        sizes: A number, or (R,) numbers, per target.
        adds: False overwrites the targets.
        sources: Tensors that the targets become perturbed copies of, which lie alike; None perturbs
            the targets.
        factors: For noise with magnitudes, a factor of each filter of each target, contiguous and
            of the targets' dtype; filters are equal stretches of a target.

    Returns:
        Checksums of targets that are perturbed copies without replicas, (K,) int64; else None.
    """
    n_parameters, n_replicas = len(targets), len(stream.keys)
    shapes = [(target.numel(), *(layout_of(target) or (0, 1))) for target in targets]
    counts, channels, places, parameters, keys = _constants(
        tuple(shapes), tuple(indices), stream.keys
    )
    job = _Job(
        _addresses(targets),
        None if sources is None else _addresses(sources),
        counts,
        parameters,
        (ctypes.c_double * (n_parameters * n_replicas))(*_flat(sizes, stream)),
        keys,
        n_parameters,
        n_replicas,
        None if table is None else table.data_ptr(),
        stream.step,
        stream.rule,
        _ADD if adds else _WRITE,
        channels=channels,
        places=places,
    )
    if factors is not None:
        assert table is not None, "signs have no magnitudes"
        lengths = [t.numel() // f.numel() for t, f in zip(targets, factors, strict=True)]
        job.factors, job.filters = _addresses(factors), (ctypes.c_int64 * len(lengths))(*lengths)
    return _perturb(job, targets)


def add_native(
    stream: Stream,
    directions: Sequence[Tensor],
    scales: Sequence[float],
    targets: Sequence[Tensor],
    sizes: Sequence[float | Tensor],
    *,
    sources: Sequence[Tensor] | None = None,
) -> Tensor | None:
    """Add ``size * (scale * direction)`` to every target.

    Args:
        stream: Says the number of replicas.
        directions: Tensors that lie as the targets do, and of their dtype.
        scales: A number per replica.
        targets: Dense CPU tensors of one dtype; with replicas contiguous ones.
        sizes: A number, or (R,) numbers, per target.
        sources: Tensors that the targets become perturbed copies of; None perturbs the targets.

    Returns:
        Checksums of targets that are perturbed copies without replicas, (K,) int64; else None.
    """
    n_replicas, flat = len(stream.keys), _flat(sizes, stream)
    counts = [target.numel() // n_replicas for target in targets]
    job = _Job(targets=_addresses(targets), factors=_addresses(directions), n_replicas=n_replicas)
    if sources is not None:
        job.sources = _addresses(sources)
    job.counts, job.n_parameters = (ctypes.c_int64 * len(counts))(*counts), len(counts)
    job.sizes = (ctypes.c_double * len(flat))(*flat)
    job.scales = (ctypes.c_double * n_replicas)(*scales)
    job.action = _ALONG
    return _perturb(job, targets)


def copy_native(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy past the caches: faster than torch for tensors larger than they are, slower for smaller.

    Args:
        targets: Dense CPU tensors of one dtype.
        sources: Tensors that lie as the targets do, and of their dtype.
    """
    counts = [target.numel() for target in targets]
    job = _Job(targets=_addresses(targets), sources=_addresses(sources), n_replicas=1)
    job.counts, job.n_parameters = (ctypes.c_int64 * len(counts))(*counts), len(counts)
    job.action = _COPY
    _run(job, targets[0].dtype)
    _note_writes(targets)


def checksums_native(tensors: Sequence[Tensor]) -> Tensor:
    """Compute a checksum of the bits of each tensor.

    Args:
        tensors: Dense CPU tensors of one dtype; the order is that of their memory.

    Returns:
        (K,) int64.
    """
    dtype = tensors[0].dtype if tensors[0].dtype in _ENTRY_POINTS else torch.uint8
    counts = [t.nbytes // dtype.itemsize for t in tensors]
    job = _Job(targets=_addresses(tensors), n_replicas=1)
    job.counts, job.n_parameters = (ctypes.c_int64 * len(counts))(*counts), len(counts)
    job.action = _CHECK
    found = _room_for_checksums(job)
    _run(job, dtype)
    return found


def _perturb(job: _Job, targets: Sequence[Tensor]) -> Tensor | None:
    """Run a job that adds to the targets; return checksums of copies without replicas."""
    is_copy = bool(job.sources) and job.n_replicas == 1
    sums = _room_for_checksums(job) if is_copy else None
    _run(job, targets[0].dtype)
    _note_writes(targets)
    return sums


def _run(job: _Job, dtype: torch.dtype) -> None:
    kernel = load_noise_kernel()
    assert kernel is not None
    job.threads = torch.get_num_threads()
    kernel[dtype](ctypes.byref(job))


def _note_writes(targets: Sequence[Tensor]) -> None:
    for target in targets:
        increment_version(target)


def _room_for_checksums(job: _Job) -> Tensor:
    found = torch.zeros(job.n_parameters, dtype=torch.int64)
    job.checksums = found.data_ptr()
    return found


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    """Memory addresses of the first elements, (K,)."""
    return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])


def _flat(sizes: Sequence[float | Tensor], stream: Stream) -> Sequence[float]:
    """Sizes of every replica of every parameter, (K * R,)."""
    if not stream.batched:
        return [float(size) for size in sizes]
    replicas = len(stream.keys)
    rows = [s.tolist() if isinstance(s, Tensor) else [s] * replicas for s in sizes]
    return list(chain.from_iterable(rows))


@lru_cache(maxsize=64)
def _constants(
    shapes: tuple[tuple[int, int, int], ...], indices: tuple[int, ...], keys: tuple[int, ...]
) -> tuple[
    ctypes.Array[ctypes.c_int64] | ctypes.Array[ctypes.c_uint32] | ctypes.Array[ctypes.c_uint64],
    ...,
]:
    """Arrays that stay the same over steps.

    Args:
        shapes: Elements of all replicas, channels and places (`layout_of`) of each target.
        indices: Parameter numbers.
        keys: Seeds of the replicas.

    Returns:
        Elements of one replica, channels and places of each target; parameter numbers; keys.
    """
    counts, channels, places = zip(*shapes, strict=True)
    numbers = ctypes.c_int64 * len(shapes)
    return (
        numbers(*[count // len(keys) for count in counts]),
        numbers(*channels),
        numbers(*places),
        (ctypes.c_uint32 * len(indices))(*indices),
        (ctypes.c_uint64 * len(keys))(*keys),
    )
