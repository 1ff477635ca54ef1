"""The mean of a part of an input: over positions, or over the given inputs if it has none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from antifragile.ablate.generation.generate import generate
from antifragile.ablate.plan.inputs import positions_of
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationKind
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.trace.records import Value
from tests.ablate.model_projects import traced, written_project
from tests.ablate.plan.test_batch import evaluated, loaded

IMAGES = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(torch.tanh(self.conv(x)).amax((2, 3)))


def build():
    return Net()


def inputs():
    torch.manual_seed(0)
    return torch.randn(4, 3, 6, 7)
"""


def test_channels_become_their_mean_over_positions(tmp_path: Path, tracing: Server) -> None:
    project = written_project(tmp_path, IMAGES)
    plan = plan_ablations(project, traced(tracing, project), groups={"colours": "x[0:2]"})
    made = generate(plan, tmp_path / "out", [AblationKind.MEAN])
    variants = {variant.component: variant for variant in made}
    base = loaded(tmp_path, "baseline")
    x = base.inputs()
    for name, part in {"input:x[1]": slice(1, 2), "input:colours": slice(0, 2)}.items():
        variant, changed = variants[name], x.clone()
        changed[:, part] = x[:, part].mean((2, 3), keepdim=True)
        assert variant.substitute == "its mean over positions (axes 2, 3), for each sample"
        found = evaluated(loaded(tmp_path, variant.folder), x)
        assert torch.equal(found, evaluated(base, changed))
        assert not torch.equal(found, evaluated(base, x))


@pytest.mark.parametrize(
    ("shape", "batch", "axis", "positions"),
    [
        ((5, 6), (0,), 1, ()),
        ((5, 6), None, 1, ()),
        ((5, 6), (), 1, (0,)),
        ((7, 5, 6), (1,), 2, (0,)),
        ((5, 3, 1, 9), (0,), 1, (3,)),
    ],
)
def test_positions_are_no_samples_and_no_features(
    shape: tuple[int, ...], batch: tuple[int, ...] | None, axis: int, positions: tuple[int, ...]
) -> None:
    value = Value(shape=shape, dtype="torch.float32", batch_axes=batch)
    assert positions_of(value, axis) == positions
