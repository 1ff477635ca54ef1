"""Random noise is drawn into every dtype and memory layout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from antifragile.optim import (
    Along,
    Filterwise,
    Gaussian,
    InitLike,
    Noise,
    Rademacher,
    Rule,
    Sphere,
    Uniform,
    perturb,
)
from antifragile.optim.noise.base import Site
from antifragile.optim.noise.norms import filter_norms
from antifragile.optim.noise.streams import Stream, draw, normal_levels
from tests.optim.small_training import are_equal, weights_of


@pytest.mark.parametrize("noise", [Gaussian(), Rademacher(), Uniform(), InitLike(), Sphere()])
def test_every_noise_can_be_drawn_into_every_dtype(noise: Noise) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        model = nn.Linear(6, 5).to(dtype)
        before = weights_of(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        handle = perturb(optimizer, Rule("weight", noise, 0.5), seed=0)
        assert not torch.equal(model.weight, before["weight"])
        handle.remove()
        assert are_equal(weights_of(model), before)


def test_a_tensor_that_is_not_contiguous_gets_the_same_numbers() -> None:
    dense, strided = nn.Linear(6, 5, bias=False), nn.Linear(6, 5, bias=False)
    strided.weight = nn.Parameter(dense.weight.detach().t().contiguous().t())
    for model in (dense, strided):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        perturb(optimizer, Rule("weight", Gaussian(), 0.5), seed=0)
    assert torch.equal(dense.weight, strided.weight)


@pytest.mark.parametrize("noise", [Gaussian(), Uniform(), Rademacher(), Sphere()])
@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_filterwise_noise_is_the_same_in_one_pass(
    noise: Noise, replicas: int | None, dtype: torch.dtype
) -> None:
    shapes = [(5, 7), (3, 300), (257,), (4, 3, 5, 5), (1, 5000), (300, 17)]
    lead = () if replicas is None else (replicas,)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(*lead, *s, generator=generator, dtype=dtype) for s in shapes]
    keys = (3,) if replicas is None else (3, 4)
    stream = Stream(keys=keys, step=2, rule=1, batched=replicas is not None)
    site = Site(parameters=weights, indices=list(range(len(shapes))), stream=stream)
    whole = Filterwise(noise)
    expected = [weight.clone() for weight in weights]
    sizes = [0.1 + 0.01 * i for i in range(len(shapes))]
    Noise.add(whole, site, expected, sizes)
    found, kept = [torch.empty_like(w) for w in weights], [w.clone() for w in weights]
    whole.add(site, found, sizes, sources=weights)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(kept, weights, strict=True))


@pytest.mark.parametrize("downhill", [False, True])
@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize("spoiled", [None, 0.0, float("nan"), float("inf")])
def test_a_direction_is_the_same_in_one_pass(
    downhill: bool, replicas: int | None, spoiled: float | None
) -> None:
    shapes = [(5, 7), (300,), (1, 5000), ()]
    lead = () if replicas is None else (replicas,)
    generator = torch.Generator().manual_seed(0)
    weights, memory = (
        [torch.randn((*lead, *s), generator=generator) for s in shapes] for _ in range(2)
    )
    if spoiled is not None:
        for tensor in memory:
            tensor.mul_(spoiled) if spoiled == 0.0 else tensor.view(-1)[0].fill_(spoiled)
    keys = (3,) if replicas is None else (3, 4)
    stream = Stream(keys=keys, step=2, rule=1, batched=replicas is not None)
    site = Site(parameters=weights, indices=list(range(len(shapes))), stream=stream, memory=memory)
    along = Along("grad", downhill=downhill)
    expected = [weight.clone() for weight in weights]
    sizes = [0.1 + 0.01 * i for i in range(len(shapes))]
    Noise.add(along, site, expected, sizes)
    found, kept = [torch.empty_like(w) for w in weights], [w.clone() for w in weights]
    along.add(site, found, sizes, sources=weights)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(kept, weights, strict=True))


OTHERS = {
    "bfloat16": lambda t: t.bfloat16(),
    "float16": lambda t: t.half(),
    "channels last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "bfloat16, channels last": lambda t: t.bfloat16().contiguous(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("layout", OTHERS)
@pytest.mark.parametrize("noise", [Gaussian(), Rademacher(), Filterwise(Gaussian())])
def test_half_precision_and_other_layouts_get_the_readable_noise(noise: Noise, layout: str) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [OTHERS[layout](torch.randn(9, s, 3, 3, generator=generator)) for s in (4, 5)]
    stream = Stream(keys=(3,), step=2, rule=1)
    site = Site(parameters=weights, indices=[0, 7], stream=stream)
    table = None if isinstance(noise, Rademacher) else normal_levels()
    expected = []
    for weight, drawn, size in zip(
        weights, draw(stream, table, [0, 7], weights), [0.1, 0.2], strict=True
    ):
        unit = (
            drawn * filter_norms(weight, is_batched=False)
            if isinstance(noise, Filterwise)
            else drawn
        )
        expected.append(weight + unit * size)
    copies, targets = [torch.empty_like(w) for w in weights], [w.clone() for w in weights]
    noise.add(site, copies, [0.1, 0.2], sources=weights)
    noise.add(site, targets, [0.1, 0.2])
    for found, target, wanted in zip(copies, targets, expected, strict=True):
        assert torch.equal(found, wanted)
        assert torch.equal(target, wanted)


def test_a_direction_that_lies_as_the_weights_do_needs_no_other_layout() -> None:
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        generator = torch.Generator().manual_seed(0)
        weights, memory = (
            [torch.randn(4, 5, 3, 3, generator=generator).contiguous(memory_format=layout)]
            for _ in range(2)
        )
        site = Site(
            parameters=weights, indices=[0], stream=Stream(keys=(0,), step=0, rule=0), memory=memory
        )
        copies = [torch.empty_like(w) for w in weights]
        Along().add(site, copies, [0.1], sources=weights)
        found.append(copies[0])
    assert torch.allclose(*found, rtol=1e-6)
