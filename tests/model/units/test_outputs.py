"""Models as they are run: what they return, what they draw, and how they fail."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from antifragile.errors import UsageError
from antifragile.model.units.find import find_units
from antifragile.model.units.records import UnitKind


@dataclass
class Seen:
    pred: Tensor
    shown: Tensor


class ModelOutput(OrderedDict[str, Tensor]):
    """A result as transformers' models give it."""


class TwoOutputs(nn.Module):
    """A classifier that hands out what its last layer reads, too."""

    def __init__(self, pack: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 6), nn.Linear(6, 4), nn.Linear(4, 3)
        self.pack = pack

    def forward(self, x: Tensor) -> object:
        shown = self.b(self.a(x).relu()).tanh()
        return self.pack(self.c(shown), shown)


@pytest.mark.parametrize(
    ("pack", "inner"),
    [
        (lambda logits, shown: {"logits": logits, "embedding": shown}, ["a"]),
        (lambda logits, shown: Seen(logits, shown), ["a"]),
        (lambda logits, shown: (Categorical(logits=logits), [shown]), ["a"]),
        (lambda logits, shown: logits, ["a", "b"]),
        (lambda logits, shown: ModelOutput(logits=logits, hidden_states=shown), ["a", "b"]),
    ],
    ids=["dictionary", "dataclass", "distribution", "tensor", "transformers"],
)
def test_a_layer_that_the_outputs_show_has_no_hidden_units(
    pack: Callable[[Tensor, Tensor], object], inner: list[str]
) -> None:
    torch.manual_seed(0)
    found = find_units(TwoOutputs(pack), torch.randn(4, 5)).groups
    assert [group.layer for group in found if group.kind is UnitKind.NEURON] == inner


def test_no_random_generator_is_moved() -> None:
    class Noisy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (1 + random.random() + np.random.rand())

    def states() -> list[object]:
        numpy = np.random.get_state(legacy=False)["state"]
        return [random.getstate(), numpy["pos"], numpy["key"].tolist(), torch.get_rng_state()]

    model, inputs = nn.Sequential(Noisy(5, 6), nn.ReLU(), nn.Linear(6, 2)), torch.randn(4, 5)
    before = states()
    table = find_units(model, inputs)
    assert [group.layer for group in table.groups] == ["0", "2"]
    for old, new in zip(before, states(), strict=True):
        assert torch.equal(old, new) if isinstance(old, Tensor) else old == new


def small_linear() -> nn.Linear:
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.bias)
    return layer


class Strict(nn.Module):
    """A check that random numbers of the size of activations do not pass."""

    def forward(self, x: Tensor) -> Tensor:
        if x.abs().max() > 0.1:
            raise ValueError("too large")
        return x


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        ("net", torch.zeros(2, 3), "the model is a str, expected a torch.nn.Module"),
        (nn.Linear(3, 2), torch.zeros(2, 5), "cannot be run on these inputs (RuntimeError: mat1"),
        (nn.Linear(3, 2), None, "cannot be run on these inputs (TypeError"),
        (nn.LazyLinear(3), torch.zeros(2, 5), "'weight' has no shape yet; call the model once"),
        (nn.Sequential(small_linear(), Strict()), torch.zeros(2, 3), "random numbers (ValueError"),
    ],
)
def test_a_model_that_cannot_be_run_is_refused_in_a_sentence(
    model: object, inputs: object, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find_units(model, inputs)  # type: ignore[arg-type]
    assert message in str(caught.value)
