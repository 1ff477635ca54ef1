"""Noise reaches the inputs however they are given, and a step without any is refused."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from antifragile.errors import UsageError
from antifragile.optim import perturb, presets
from tests.optim.small_training import batch, network


class Named(nn.Module):
    """A model that takes its input as a word, or in a mapping, beside a mask and token ids."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 3)

    def forward(self, mask: Any = None, x: Any = None, batch: Any = None) -> Tensor:
        x = batch["x"] if batch is not None else x
        return self.inner(x)


X = batch(0)[0]
MASK, IDS = torch.ones(16, dtype=torch.bool), torch.arange(16)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {"x": X}),
        ((MASK, X), {}),
        ((MASK,), {"x": X}),
        ((), {"batch": {"ids": IDS, "x": X}}),
        ((), {"batch": UserDict({"ids": IDS, "x": X})}),
    ],
    ids=["keyword", "behind a mask", "keyword behind a mask", "dictionary", "mapping"],
)
def test_an_input_is_found(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    model = Named()
    perturb(torch.optim.SGD(model.parameters(), lr=0.1), presets.input_noise(1.0), model=model)
    before = X.clone()
    assert not torch.equal(model(*args, **kwargs), model.inner(X))
    assert torch.equal(before, X)


def test_a_module_that_is_never_called_is_refused_at_the_step() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

    outer = Outer()
    optimizer = torch.optim.SGD(outer.parameters(), lr=0.1)
    perturb(optimizer, presets.input_noise(1.0), model=outer)
    cross_entropy(outer.net(X), batch(0)[1]).backward()
    with pytest.raises(UsageError, match="no forward of the model in training mode came since"):
        optimizer.step()


def test_noise_reaches_the_arguments_that_are_named_and_no_others() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(8, 3)

        def forward(self, image: Tensor, extra: dict[str, Any], *rest: Tensor) -> Tensor:
            self.got = (image, extra["depth"], *rest)
            return self.inner(image + extra["depth"])

    model = Pair()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    extra = {"depth": X.clone()}
    for named, changed in [
        ("image", [0]),
        ("depth", [1]),
        ("extra", [1]),
        (["rest", "image"], [0, 2, 3]),
        (("depth", "extra"), [1]),
    ]:
        handle = perturb(optimizer, presets.input_noise(1.0, inputs=named), seed=0, model=model)
        model(X, extra, X, X).sum().backward()
        assert [i for i, x in enumerate(model.got) if not torch.equal(x, X)] == changed
        noise = [model.got[i] - X for i in changed]
        assert all(abs(float(part.std()) - 1) < 0.3 for part in noise), "added once"
        assert len({float(part[0, 0]) for part in noise}) == len(noise), "each has its own"
        assert torch.equal(extra["depth"], X)
        optimizer.step()
        handle.remove()


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_a_name_is_that_of_the_module_inside_a_wrapper(wrap: Any) -> None:
    model = wrap(Named())
    inner = getattr(model, "module", None) or model._orig_mod
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.1)
    perturb(optimizer, presets.input_noise(1.0, inputs="x"), model=model)
    assert not torch.equal(model(MASK, X), inner.inner(X))
    model(MASK, X).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("y", "found no argument 'y' among those of the model's forwards, which are mask, x"),
        (("x", "y"), "found no argument 'y'"),
        ("mask", "found booleans in 'mask', to which no noise can be added"),
    ],
)
def test_a_name_without_anything_to_perturb_is_refused_at_the_step(
    inputs: Any, message: str
) -> None:
    model = Named()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.input_noise(1.0, inputs=inputs), model=model)
    model(MASK, X).sum().backward()
    with pytest.raises(UsageError, match=message):
        optimizer.step()


def test_a_forward_without_numbers_to_perturb_is_refused_at_the_step() -> None:
    model = Named()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.input_noise(1.0), model=model)
    model.register_forward_pre_hook(lambda module, args: (MASK, X))
    model(MASK).sum().backward()
    with pytest.raises(UsageError, match="found no floating-point tensor and no integers that a"):
        optimizer.step()


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_a_forward_that_is_repeated_for_its_gradient_has_the_same_noise(
    use_reentrant: bool,
) -> None:
    found = []
    for repeats in (False, True):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        perturb(optimizer, presets.input_noise(1.0), seed=0, model=model)
        for number in range(2):
            x, y = batch(number)
            x.requires_grad_(use_reentrant)
            out = checkpoint(model, x, use_reentrant=use_reentrant) if repeats else model(x)
            cross_entropy(out, y).backward()
        found.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    assert torch.allclose(*found)


def test_two_forwards_of_one_tensor_keep_their_noise_when_they_are_repeated() -> None:
    found = []
    for repeats in (False, True):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        perturb(optimizer, presets.input_noise(1.0), seed=0, model=model)
        x, y = batch(0)
        out = [checkpoint(model, x, use_reentrant=False) if repeats else model(x) for _ in range(2)]
        loss = sum(cross_entropy(o, y) for o in out) + (out[0] - out[1]).square().mean()
        loss.backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.allclose(*found, atol=1e-6)
