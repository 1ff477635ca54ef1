"""The Triton kernel: the same bits as torch, in Triton's interpreter and on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from antifragile.optim.noise.base import Site
from antifragile.optim.noise.drawn import Drawn, Gaussian, Rademacher, Uniform
from antifragile.optim.noise.streams import Stream, draw
from tests.required_here import not_here

SHAPES = [(1,), (127,), (8, 16), (2049,), (37, 61), (3, 5, 2), (9001,), (0,)]
NOISES: list[Drawn] = [Rademacher(), Gaussian(), Uniform()]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def test_the_kernel_gives_the_same_bits_in_the_interpreter() -> None:
    if find_spec("triton") is None:
        not_here("Triton, which interprets the GPU's kernel, is not installed")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.optim.noise.interpreted_gpu"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.split() == ["36", "cases", "agree"]


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("table", [False, True], ids=["signs", "levels"])
def test_the_kernel_compiles_without_fused_sums(
    architecture: int, table: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if find_spec("triton") is None:
        not_here("Triton, which compiles the GPU's kernel, is not installed")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from antifragile.optim.noise import gpu

    element, computed = gpu._TYPES[torch.float32]
    blocks, per_word = gpu.SHAPE_OF_LEVELS if table else gpu.SHAPE_OF_SIGNS
    constants = {
        "ELEMENT": element,
        "COMPUTED": computed,
        "BLOCKS": blocks,
        "PER_WORD": per_word,
        "ADDS": True,
    }
    pointers = dict.fromkeys(("calls", "fixed", "chunks"), "*i64") | {"table": "*fp32"}
    signature = pointers | {"step": "i64", "rule": "i64"} | dict.fromkeys(constants, "constexpr")
    source = ASTSource(gpu._perturb, signature, constexprs=constants)
    target = GPUTarget("cuda", architecture, 32)
    built = triton.compile(source, target=target, options={"enable_fp_fusion": False})
    code = built.asm["ptx"]
    assert "st.global" in code
    assert "fma" not in code


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: type(noise).__name__)
@pytest.mark.parametrize("copies", [False, True])
def test_a_gpu_adds_the_same_bits(noise: Drawn, dtype: torch.dtype, copies: bool) -> None:
    like = [torch.rand(shape, dtype=dtype, device="cuda") for shape in SHAPES]
    stream, indices = Stream(keys=(2**63 + 5,), step=1, rule=16), list(range(len(like)))
    sizes = [0.1 * i for i in indices]
    drawn = draw(stream, noise.table(), indices, like)
    expected = [t + part.mul_(size) for t, part, size in zip(like, drawn, sizes, strict=True)]
    site = Site(parameters=like, indices=indices, stream=stream)
    targets: list[Tensor] = [torch.empty_like(t) if copies else t.clone() for t in like]
    noise.add(site, targets, sizes, sources=like if copies else None)
    assert all(torch.equal(a, b) for a, b in zip(targets, expected, strict=True))
