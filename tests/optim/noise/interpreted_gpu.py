"""Compares the Triton kernel with torch, case by case; run with TRITON_INTERPRET=1."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from antifragile.optim.noise.gpu import run_on_gpu
from antifragile.optim.noise.streams import Stream, draw, normal_levels, uniform_levels

KEYS = (2**63 + 5, 3)
SHAPES = [(1,), (127,), (8, 16), (2049,), (3, 5, 2), (9001,), (0,)]
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
TABLES = (None, normal_levels(), uniform_levels())
WAYS = ("in place", "copy", "replicas")


def expected(stream: Stream, table: Tensor | None, like: list[Tensor]) -> list[Tensor]:
    """Noise of `streams.draw` times 0.1, 0.2, ... for each replica and parameter, added."""
    found = []
    for i, (tensor, noise) in enumerate(zip(like, draw(stream, table, INDICES, like), strict=True)):
        for r in range(len(stream.keys)):
            part = noise[r] if stream.batched else noise
            part.mul_(size(i, r))
        found.append(tensor + noise)
    return found


INDICES = list(range(7, 7 + len(SHAPES)))


def size(parameter: int, replica: int) -> float:
    """Scale of the noise of one replica of one parameter."""
    return 0.1 * parameter + 0.25 * replica


def close(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two tensors have the same bits; bfloat16, which the interpreter cuts off, is near."""
    if ours.dtype is not torch.bfloat16:
        return torch.equal(ours, theirs)
    return torch.allclose(ours.float(), theirs.float(), rtol=2**-6, atol=2**-6)


def agrees(dtype: torch.dtype, table: Tensor | None, way: str) -> bool:
    """Whether the kernel adds what torch adds."""
    replicas = 2 if way == "replicas" else 1
    stream = Stream(keys=KEYS[:replicas], step=1, rule=1 << 16 | 3, batched=replicas > 1)
    shapes = [(replicas, *shape) if replicas > 1 else shape for shape in SHAPES]
    like = [torch.rand(shape, dtype=dtype) for shape in shapes]
    targets = [torch.full_like(t, -7.0) if way == "copy" else t.clone() for t in like]
    scales = [[size(i, r) for r in range(replicas)] for i in range(len(like))]
    numbers = torch.tensor(scales, dtype=torch.float64)
    sizes: list[float | Tensor] = list(numbers) if replicas > 1 else numbers[:, 0].tolist()
    versions = [t._version for t in targets]
    sources = like if way == "copy" else None
    run_on_gpu(stream, table, INDICES, targets, sizes, sources=sources)
    assert all(t._version > before for t, before in zip(targets, versions, strict=True))
    pairs = zip(targets, expected(stream, table, like), strict=True)
    return all(close(ours, theirs) for ours, theirs in pairs)


def main() -> None:
    """Compare all cases."""
    cases = list(itertools.product(DTYPES, TABLES, WAYS))
    wrong = [
        (dtype, None if table is None else float(table[-1]), way)
        for dtype, table, way in cases
        if not agrees(dtype, table, way)
    ]
    assert not wrong, wrong
    written = [torch.full((300,), float("nan"))]
    stream = Stream(keys=(1,), step=0, rule=0)
    run_on_gpu(stream, None, [0], written, [1.0], adds=False)
    assert torch.equal(written[0], draw(stream, None, [0], written)[0])
    print(len(cases), "cases agree")


if __name__ == "__main__":
    main()
