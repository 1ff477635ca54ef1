"""Metrics tell how much each rule adds."""

from __future__ import annotations

import pytest
import torch

from antifragile.optim import Rademacher, RatioToGradient, Rule, Sphere, perturb
from tests.optim.small_training import Point, descend


def test_metrics_say_how_much_is_added() -> None:
    model = Point([3.0, 4.0] + [0.0] * 98)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = perturb(
        optimizer, Rule("grad", Rademacher(), 0.1), Rule("weight", Sphere(), RatioToGradient(0.5))
    )
    assert handle.metrics()[0]["gradient_norm"] is None
    descend(model, optimizer, 1)
    grad, weight = handle.metrics()
    assert grad["where"] == "grad"
    assert grad["noise_norm"] == pytest.approx(1.0)
    assert grad["gradient_norm"] == pytest.approx(5.0)
    assert grad["ratio"] == pytest.approx(0.2)
    assert weight["noise_norm"] == pytest.approx(2.5)
    assert weight["controller"]["norm"] == pytest.approx([5.0])
