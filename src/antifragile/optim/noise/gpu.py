"""The noise of `streams.py` on a GPU, by one Triton kernel that adds it in one pass.

The same bits as torch computes there, where it makes some hundred temporary tensors of 64-bit
words. It is imported only for tensors on a GPU, where Triton is installed: CUDA builds of torch for
Linux bring it. Tests run it in Triton's interpreter, and compile it; it was not run on a GPU.

Shape letters: R replicas (1 where there are none), K parameters, C chunks of all rows. A row is one
replica of one parameter; a chunk is what one program of the kernel perturbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.graph import increment_version

from antifragile.optim.noise.streams import Stream

_TYPES = {
    torch.float32: (tl.float32, tl.float32),
    torch.float64: (tl.float64, tl.float64),
    torch.bfloat16: (tl.bfloat16, tl.float32),
    torch.float16: (tl.float16, tl.float32),
}
"""Triton's type of the elements, and the one that they are computed in."""
SHAPE_OF_SIGNS, SHAPE_OF_LEVELS = (32, 32), (128, 2)
"""Blocks of four words that a program draws, and elements that take their bits from one word."""


def can_run_on_gpu(tensors: Sequence[Tensor]) -> bool:
    """Whether the kernel can perturb all of these tensors: contiguous, alike, on one GPU."""
    device, dtype = tensors[0].device, tensors[0].dtype
    return (
        device.type == "cuda"
        and dtype in _TYPES
        and all(t.device == device and t.dtype is dtype and t.is_contiguous() for t in tensors)
    )


def run_on_gpu(
    stream: Stream,
    table: Tensor | None,
    indices: Sequence[int],
    targets: Sequence[Tensor],
    sizes: Sequence[float | Tensor],
    *,
    adds: bool = True,
    sources: Sequence[Tensor] | None = None,
) -> None:
    """Add ``size * noise`` to every target, or write it there; as `kernel.run_native`.

    Args:
        stream: Seeds, step and rule number.
        table: (32768,) float32 magnitudes, or None for signs.
        indices: Positions of the targets' parameters in the optimizer, (K,).
        targets: Contiguous tensors of one dtype and device, (K,).
        sizes: A number, or (R,) numbers, per target.
        adds: False overwrites the targets.
        sources: Tensors that the targets become perturbed copies of; None perturbs the targets.
    """
    device, replicas = targets[0].device, len(stream.keys)
    counts = tuple(target.numel() // replicas for target in targets)
    blocks, per_word = SHAPE_OF_SIGNS if table is None else SHAPE_OF_LEVELS
    fixed, chunks = _rows(counts, tuple(indices), stream.keys, 4 * blocks * per_word, device)
    if not len(chunks):
        return
    magnitudes = fixed if table is None else _on(table, device)
    calls = _calls(targets, sources or targets, sizes, replicas).to(device)
    element, computed = _TYPES[targets[0].dtype]
    _perturb[(len(chunks),)](
        calls,
        fixed,
        chunks,
        magnitudes,
        stream.step,
        stream.rule,
        ELEMENT=element,
        COMPUTED=computed,
        BLOCKS=blocks,
        PER_WORD=per_word,
        ADDS=adds,
        enable_fp_fusion=False,  # torch rounds products and sums one by one
    )
    for target in targets:
        increment_version(target)


@triton.jit(do_not_specialize=["step", "rule"])  # type: ignore[untyped-decorator]
def _perturb(  # type: ignore[no-untyped-def]  # pragma: no cover  # compiled by Triton
    calls,
    fixed,
    chunks,
    table,
    step,
    rule,
    ELEMENT: tl.constexpr,
    COMPUTED: tl.constexpr,
    BLOCKS: tl.constexpr,
    PER_WORD: tl.constexpr,
    ADDS: tl.constexpr,
):
    """Perturb one chunk: BLOCKS blocks of four words, each the bits of PER_WORD elements."""
    chunk = tl.program_id(0)
    row = tl.load(chunks + 2 * chunk)
    start = tl.load(chunks + 2 * chunk + 1)
    count = tl.load(fixed + 3 * row)
    key = tl.load(fixed + 3 * row + 2).to(tl.uint64, bitcast=True)

    block = (start // (4 * PER_WORD) + tl.arange(0, BLOCKS)).to(tl.uint32)
    rest = tl.zeros((BLOCKS,), tl.uint32)
    parameter = rest + tl.load(fixed + 3 * row + 1).to(tl.uint32)
    a, b, c, d = tl.philox(
        key, block, parameter, rest + step.to(tl.uint32), rest + rule.to(tl.uint32)
    )
    words = tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (BLOCKS * 4, 1))
    place = tl.arange(0, PER_WORD)[None, :]
    bits = words >> (place * (32 // PER_WORD)).to(tl.uint32)
    if PER_WORD == 32:
        noise = 1.0 - 2.0 * (bits & 1).to(tl.float32)
    else:
        level = tl.load(table + (bits & 0x7FFF).to(tl.int32))
        noise = tl.where((bits & 0x8000) != 0, -level, level)

    size = tl.load(calls + 3 * row + 2).to(tl.float64, bitcast=True).to(COMPUTED)
    noise = (noise.to(ELEMENT).to(COMPUTED) * size).to(ELEMENT)
    at = start + tl.arange(0, BLOCKS * 4)[:, None] * PER_WORD + place
    target = tl.load(calls + 3 * row).to(tl.pointer_type(ELEMENT))
    if ADDS:
        source = tl.load(calls + 3 * row + 1).to(tl.pointer_type(ELEMENT))
        before = tl.load(source + at, mask=at < count)
        noise = (before.to(COMPUTED) + noise.to(COMPUTED)).to(ELEMENT)
    tl.store(target + at, noise, mask=at < count)


def _calls(
    targets: Sequence[Tensor],
    sources: Sequence[Tensor],
    sizes: Sequence[float | Tensor],
    replicas: int,
) -> Tensor:
    """Addresses of target and source, and the bits of the size, of every row: (K * R, 3) int64."""
    replica = torch.arange(replicas)
    spans = torch.tensor([t.nbytes // replicas for t in targets])[:, None] * replica  # (K, R)
    starts = [torch.tensor([t.data_ptr() for t in ts])[:, None] for ts in (targets, sources)]
    numbers = [torch.as_tensor(size, dtype=torch.float64, device="cpu") for size in sizes]
    scales = torch.stack([number.expand(replicas) for number in numbers])
    columns = [*(spans + start for start in starts), scales.contiguous().view(torch.int64)]
    return torch.stack(columns, dim=-1).reshape(-1, 3)


@lru_cache(maxsize=64)
def _rows(
    counts: tuple[int, ...],
    indices: tuple[int, ...],
    keys: tuple[int, ...],
    chunk: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Tensors that stay the same over steps.

    Returns:
        Elements, parameter number and key of every row, (K * R, 3) int64; row and first element of
        every chunk, (C, 2) int64.
    """
    signed = [key - (key >> 63 << 64) for key in keys]
    rows = [(n, i, key) for n, i in zip(counts, indices, strict=True) for key in signed]
    chunks = [(row, at) for row, (n, *_) in enumerate(rows) for at in range(0, n, chunk)]
    return torch.tensor(rows, device=device), torch.tensor(chunks, device=device)


@lru_cache(maxsize=8)
def _on(table: Tensor, device: torch.device) -> Tensor:
    return table.to(device)
