"""An output whose axis is shorter than the number of samples holds none of them along it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from antifragile.ablate.trace.batch import Samples, follows
from tests.ablate.frameworks.test_batch_axis import Called, axes_of, drawn


def halved(parts: Any, x: Tensor) -> Tensor:
    """Steps, samples, features: each two steps become one."""
    h = torch.tanh(x).cumsum(0)
    return torch.maximum(h[0::2], h[1::2])


def in_threes(parts: Any, x: Tensor) -> Tensor:
    return torch.tanh(x).cumsum(0)[::3]


@pytest.mark.parametrize("forward", [halved, in_threes])
def test_as_many_steps_as_samples_and_fewer_steps_out(forward: Callable[..., Tensor]) -> None:
    assert axes_of(Called(forward), drawn(6, 6, 6)) == [1]


def test_an_axis_that_cannot_hold_the_samples_does_not_follow() -> None:
    samples = Samples(count=6, taken=(1, 3))
    assert not follows(np.ones((3, 6, 3)), np.ones((1, 6, 3)), samples, 0.0)
    assert follows(np.ones((12, 3)), np.ones((4, 3)), samples, 0.0)
