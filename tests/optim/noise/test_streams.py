"""Random bits by address: known answers, the same bits from the kernel, laws of the noise."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from antifragile.optim.noise import kernel as native
from antifragile.optim.noise.kernel import (
    checksums_native,
    copy_native,
    is_native,
    load_noise_kernel,
    run_native,
)
from antifragile.optim.noise.streams import (
    Stream,
    draw,
    normal_levels,
    philox,
    uniform,
    uniform_levels,
)
from tests.required_here import not_here

TABLES = {"signs": lambda: None, "normal": normal_levels, "uniform": uniform_levels}
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
CHANNELS_LAST = [(7, 3, 3, 3), (1, 5, 2, 2), (33, 100, 5, 3), (5, 700, 2, 1), (4, 3, 2, 5, 3)]
SHAPES = [(1,), (127,), (128,), (129,), (2049,), (37, 61), (3, 5, 2)]
compiled = pytest.mark.skipif(load_noise_kernel() is None, reason="the noise kernel was not built")


def test_the_kernel_that_other_tests_ask_for_is_built() -> None:
    if load_noise_kernel() is None:
        not_here("the compiled noise kernel was not built, or cannot be loaded")


def last(tensor: Tensor) -> Tensor:
    """Lay out channels last where there are channels."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return tensor.contiguous(memory_format=formats.get(tensor.ndim, torch.contiguous_format))


def stream(seed: int = 1, step: int = 0, rule: int = 0) -> Stream:
    return Stream(keys=(seed,), step=step, rule=rule)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_answers(
    counter: list[int], key: list[int], expected: list[int]
) -> None:
    words = philox([torch.tensor(counter[0]), *counter[1:]], key)
    assert [int(word) for word in words] == expected


@compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("scale", [0.1, 1e-6, 1e30])
def test_the_kernel_adds_the_same_bits(table: str, dtype: torch.dtype, scale: float) -> None:
    shapes = [*SHAPES, *CHANNELS_LAST]
    like = [last(torch.rand(shape).sub(0.5).mul(10 * scale).to(dtype)) for shape in shapes]
    ours, theirs = [t.clone() for t in like], [t.clone() for t in like]
    indices, sizes = list(range(7, 7 + len(like))), [scale * i for i in range(len(like))]
    address = stream(seed=2**63 + 5, step=77, rule=3)
    assert is_native(ours)
    run_native(address, TABLES[table](), indices, ours, sizes)
    for target, noise, size in zip(
        theirs, draw(address, TABLES[table](), indices, like), sizes, strict=True
    ):
        target.add_(noise.mul_(size))
    for mine, target in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, target, rtol=0, atol=0, equal_nan=True)


@compiled
@pytest.mark.parametrize("lengths", [65536, 7])  # vectors, and what remains of them
def test_every_float16_number_is_read_and_written_as_it_is(lengths: int) -> None:
    every = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.float16)
    sources = list(every.split(lengths))
    targets, zeros = [torch.empty_like(s) for s in sources], [0.0] * len(sources)
    run_native(stream(), None, range(len(sources)), targets, zeros, sources=sources)
    torch.testing.assert_close(torch.cat(targets), every, rtol=0, atol=0, equal_nan=True)


@compiled
@given(
    shape=st.lists(st.integers(0, 9), min_size=4, max_size=5),
    dtype=st.sampled_from(DTYPES),
    table=st.sampled_from(list(TABLES)),
    replicas=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_channels_last_get_the_same_bits(
    shape: list[int], dtype: torch.dtype, table: str, replicas: bool
) -> None:
    plain = torch.rand(shape).to(dtype)
    keys = tuple(range(shape[0])) if replicas and shape[0] else (0,)
    address = Stream(keys=keys, step=1, rule=2, batched=replicas)
    found = []
    for source in (plain, last(plain)):
        target = torch.empty_like(source)
        sums = run_native(address, TABLES[table](), [3], [target], [0.5], sources=[source])
        assert sums is None or torch.equal(sums, checksums_native([target]))
        found.append(target)
    assert torch.equal(*found)


@compiled
@pytest.mark.parametrize("table", TABLES)
def test_threads_change_no_bit(table: str) -> None:
    parts = []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        sizes = [(1_200_001,), (700,), (300, 64, 9, 5), (3, 33_001, 3, 5)]
        parts.append([last(torch.zeros(size)) for size in sizes])
        run_native(stream(), TABLES[table](), range(4), parts[-1], [0.5, 0.25, 1.0, 2.0])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*parts, strict=True))


@compiled
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_perturbed_copy_is_that_of_noise_in_place(table: str, dtype: torch.dtype) -> None:
    source = torch.rand(2500, dtype=dtype)
    target, copied = source.clone(), torch.full((2500,), float("nan"), dtype=dtype)
    run_native(stream(), TABLES[table](), [0], [target], [0.5])
    before = source.clone()
    run_native(stream(), TABLES[table](), [0], [copied], [0.5], sources=[source])
    assert torch.equal(copied, target)
    assert torch.equal(source, before)


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0, 1, 3])
def test_a_copy_takes_every_element_and_no_other(offset: int, dtype: torch.dtype) -> None:
    sources = [torch.rand(size, dtype=dtype) for size in (1, 2, 9, 130, 300_007)]
    around = [torch.full((len(s) + offset + 5,), -1.0, dtype=dtype) for s in sources]
    targets = [a[offset : offset + len(s)] for a, s in zip(around, sources, strict=True)]
    copy_native(targets, sources)
    for a, target, source in zip(around, targets, sources, strict=True):
        assert torch.equal(target, source)
        assert int((a == -1.0).sum()) == offset + 5


@compiled
def test_a_kernel_of_another_version_is_left_to_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(native._ENTRY_POINTS, torch.float32, "no_such_function")
    assert load_noise_kernel.__wrapped__() is None
    assert "the noise kernel does not load" in caplog.text


@compiled
def test_a_write_by_the_kernel_is_seen_by_autograd() -> None:
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * weight).sum()
    run_native(stream(), None, [0], [weight.detach()], [0.5])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_tensors_the_kernel_cannot_take_are_left_to_torch() -> None:
    assert not is_native([torch.zeros(4, 4).t()[:2]])
    assert not is_native([torch.zeros(4, 5).t()])
    assert not is_native([torch.zeros(4, dtype=torch.int16)])
    plain = torch.zeros(4, 5, 3, 3)
    assert not is_native([plain], [last(plain)])
    assert not is_native([last(plain)], [plain])
    assert is_native([last(plain)], [last(plain)])


@pytest.mark.parametrize("table", ["normal", "uniform"])
def test_levels_have_mean_zero_and_variance_one(table: str) -> None:
    levels = TABLES[table]()
    assert levels is not None
    assert float(levels.double().square().mean()) == pytest.approx(1, abs=1e-7)
    assert bool((levels.diff() >= 0).all())


def test_normal_levels_are_close_to_the_normal_law() -> None:
    levels = normal_levels().double()
    law = torch.special.ndtr(levels)
    ranks = 0.5 + (torch.arange(len(levels)) + 0.5) / (2 * len(levels))
    assert float((law - ranks).abs().max()) < 3e-5
    assert float(levels.pow(4).mean()) == pytest.approx(3, abs=2e-3)
    assert 4.1 < float(levels[-1]) < 4.5


@pytest.mark.parametrize("table", TABLES)
def test_moments_of_a_million_elements(table: str) -> None:
    (noise,) = draw(stream(seed=5), TABLES[table](), [0], [torch.empty(1_000_000)])
    assert abs(float(noise.mean())) < 4e-3
    assert float(noise.square().mean()) == pytest.approx(1, abs=6e-3)


addresses = st.tuples(
    st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**16), st.integers(0, 500)
)


def bits(address: tuple[int, int, int, int]) -> Tensor:
    seed, step, rule, parameter = address
    return draw(stream(seed, step, rule), None, [parameter], [torch.empty(512)])[0]


@given(addresses)
@settings(max_examples=50, deadline=None)
def test_an_address_always_has_the_same_bits(address: tuple[int, int, int, int]) -> None:
    assert torch.equal(bits(address), bits(address))


@given(addresses, addresses)
@settings(max_examples=100, deadline=None)
def test_different_addresses_are_independent(
    one: tuple[int, int, int, int], other: tuple[int, int, int, int]
) -> None:
    if one != other:
        assert abs(float((bits(one) * bits(other)).mean())) < 6 / 512**0.5


@given(addresses, st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_neighbouring_addresses_are_independent(
    address: tuple[int, int, int, int], place: int
) -> None:
    limits = (2**64 - 1, 2**32 - 1, 2**16, 500)
    step = 1 if address[place] < limits[place] else -1
    neighbour = tuple(a + step * (i == place) for i, a in enumerate(address))
    assert abs(float((bits(address) * bits(neighbour)).mean())) < 6 / 512**0.5


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(1, 300), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_a_parameter_is_drawn_alone_as_among_others(seed: int, sizes: list[int]) -> None:
    like = [torch.empty(size) for size in sizes]
    together = draw(stream(seed), normal_levels(), range(len(like)), like)
    alone = [draw(stream(seed), normal_levels(), [i], [t])[0] for i, t in enumerate(like)]
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))


def test_decisions_are_uniform_and_by_replica() -> None:
    numbers = [uniform(stream(seed=9, step=t))[0] for t in range(300)]
    assert min(numbers) >= 0
    assert max(numbers) < 1
    assert sum(numbers) / 300 == pytest.approx(0.5, abs=0.06)
    two = uniform(Stream(keys=(9, 10), step=4, rule=0, batched=True))
    assert two == [uniform(stream(9, 4))[0], uniform(stream(10, 4))[0]]
