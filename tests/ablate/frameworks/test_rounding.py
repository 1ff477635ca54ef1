"""Everything that is computed moves by its own rounding, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from antifragile.ablate.frameworks.arrays import moved
from antifragile.ablate.frameworks.rounding import results_moved

TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def shaken(function: Callable[[], Tensor], salt: int = 1) -> tuple[Tensor, Tensor]:
    """What a function returns as it is, and with everything moved."""
    plain = function()
    with results_moved(salt):
        return plain, function()


def units(plain: Tensor, found: Tensor) -> float:
    """The largest distance in units of the type, of each value by itself."""
    wide, other = plain.double(), found.double()
    return float(((wide - other) / wide).abs().max() / torch.finfo(plain.dtype).eps)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_result_moves_by_a_unit_of_its_type(dtype: torch.dtype) -> None:
    x = drawn(50, dtype=dtype)
    plain, found = shaken(lambda: x * 3.1)
    assert 0.4 < units(plain, found) <= 1.01
    assert (plain != found).float().mean() > 0.9


def test_a_result_moves_both_ways() -> None:
    x = drawn(100)
    plain, found = shaken(lambda: x * 3.1)
    assert 0.3 < float((found > plain).float().mean()) < 0.7


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.t().reshape(-1)[3:],
        lambda x: torch.cat([x, x]),
        lambda x: x.clone().relu().contiguous(),
        lambda x: x.max(1).values,
        lambda x: torch.where(x > 0, x, -x),
        lambda x: x.double(),
        lambda x: (x * 3).round(),
        lambda x: (x > 0).float() * 4 - 1,
        lambda x: torch.arange(9.0) * 2,
        lambda x: x[[1, 0]].masked_fill(x[:2] > 1, 0.0),
        lambda x: F.max_pool1d(x[None], 2),
    ],
)
def test_copies_and_whole_numbers_stay(function: Callable[[Tensor], Tensor]) -> None:
    x = drawn(5, 6)
    plain, found = shaken(lambda: function(x))
    assert torch.equal(plain, found)


def test_a_cast_to_a_coarser_type_moves_by_its_unit() -> None:
    x = drawn(50)
    plain, found = shaken(lambda: x.half().float())
    assert not torch.equal(plain, found)
    assert torch.equal(found, found.half().float())


def test_autocast_moves_by_units_of_its_type() -> None:
    layer, x = nn.Linear(8, 8), drawn(4, 8)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        plain, found = shaken(lambda: layer(x))
    assert plain.dtype is torch.bfloat16
    assert units(plain, found) > 0.4


def test_what_is_written_in_place_moves_in_place() -> None:
    x = drawn(50)

    def function() -> Tensor:
        y = x.clone()
        y.mul_(1.7)
        return y

    plain, found = shaken(function)
    assert 0 < units(plain, found) <= 1.01


def test_gradients_move_and_streams_do_not() -> None:
    torch.manual_seed(3)
    layer, x = nn.Linear(8, 8), drawn(4, 8)

    def gradient() -> Tensor:
        layer.weight.grad = None
        layer(x).tanh().sum().backward()
        assert layer.weight.grad is not None
        return layer.weight.grad

    state = torch.get_rng_state()
    plain, found = shaken(gradient)
    assert not torch.equal(plain, found)
    assert torch.allclose(plain, found, rtol=1e-5, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_salt_decides_the_directions() -> None:
    x = drawn(50)
    one, again, other = (shaken(lambda: x * 3.1, salt)[1] for salt in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.GELU()),
        nn.TransformerEncoderLayer(8, 2, dim_feedforward=8, batch_first=True),
        nn.MultiheadAttention(8, 2),
        nn.LSTM(8, 4),
    ],
)
def test_models_run_and_answer_nearly_the_same(model: nn.Module) -> None:
    x = drawn(2, 3, 8)
    given = (x, x, x) if isinstance(model, nn.MultiheadAttention) else (x,)

    def output() -> Tensor:
        found = model.eval()(*given)
        return (found if isinstance(found, Tensor) else found[0]).detach()

    plain, found = shaken(output)
    assert not torch.equal(plain, found)
    assert torch.allclose(plain, found, atol=1e-5)


def test_arrays_move_by_one_unit() -> None:
    values = np.linspace(0.1, 1, 20, dtype=np.float32)
    found = moved(values, 2.0**-23, np.random.default_rng(0))
    assert found.dtype == np.float32
    assert np.abs(found / values - 1).max() < 2.5 * 2.0**-23
    assert (found != values).all()
    whole = np.arange(3)
    assert moved(whole, 2.0**-23, np.random.default_rng(0)) is whole
