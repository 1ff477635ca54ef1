"""Norms of long tensors are exact to float32, however they are batched."""

from __future__ import annotations

import pytest
import torch

from antifragile.optim.noise.norms import tensor_norms


@pytest.mark.parametrize("n", [1000, 2**20 + 1, 5_000_001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_norm_is_that_in_double_precision(n: int, dtype: torch.dtype) -> None:
    values = torch.randn(n, generator=torch.Generator().manual_seed(n)).to(dtype)
    exact = float(torch.linalg.vector_norm(values.double()))
    single = tensor_norms([values, values[:7]], is_batched=False)
    assert float(single[0]) == pytest.approx(exact, rel=1e-6)
    batched = tensor_norms([torch.stack([values, 2 * values])], is_batched=True)
    assert batched.flatten().tolist() == pytest.approx([exact, 2 * exact], rel=1e-6)
